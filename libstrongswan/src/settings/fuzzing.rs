//! Entry point for fuzzers, kept compiling by a unit test.

use super::Settings;

/// Parses arbitrary bytes and walks over everything that came out. Includes are left out: they would read whatever
/// files the machine has.
pub fn settings(input: &[u8]) {
    const INCLUDE: &[u8] = b"include";
    if input.windows(INCLUDE.len()).any(|window| window == INCLUDE) {
        return;
    }
    if let Ok(settings) = Settings::parse_bytes("<fuzz>", input) {
        let mut paths = vec![(String::new(), 0)];
        let mut visited = 0;
        while let Some((path, depth)) = paths.pop() {
            visited += 1;
            if visited > 30 || depth > 6 {
                break;
            }
            for entry in settings.keys(&path) {
                assert!(settings.get_str(&format!("{path}.{}", entry.name)).is_some());
            }
            for section in settings.sections(&path) {
                paths.push((format!("{path}.{section}"), depth + 1));
            }
        }
    }
}
