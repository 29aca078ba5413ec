//! Writes the default configuration from the table of options: `cargo run -p strongswan --example default-config -- conf.d`.

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use strongswan::settings::options::{default_files, reference};

fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("conf.d"), PathBuf::from);
    for file in default_files().into_iter().chain([reference()]) {
        let path = directory.join(&file.path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, file.text)?;
    }
    Ok(())
}
