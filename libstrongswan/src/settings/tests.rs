//! The grammar, inheritance, includes and conversions, and texts that break them.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Settings {
    Settings::parse_str(text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

fn error(text: &str) -> String {
    Settings::parse_str(text).expect_err(text).to_string()
}

fn keys<'a>(settings: &'a Settings, path: &str) -> Vec<(&'a str, &'a str)> {
    settings.keys(path).into_iter().map(|entry| (entry.name, entry.value)).collect()
}

/// A directory of files that is removed again.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let path = std::env::temp_dir().join(format!("strongswan-settings-{}-{name}", std::process::id()));
        for (name, text) in files {
            let file = path.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        Self(path)
    }

    fn load(&self, name: &str) -> Result<Settings, SettingsError> {
        Settings::load(self.0.join(name))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn grammar_consequences() {
    for (text, path, expected) in [
        ("s { k = v }", "s.k", Some("v")),
        ("a { } b = 2", "b", Some("2")),
        ("a { } t { k = 1 }", "t.k", Some("1")),
        ("s5\n{\nk = v\n}", "s5.k", Some("v")),
        ("s5 # comment\n\n{ k = v }", "s5.k", Some("v")),
        ("k = v; k2 = w", "k", Some("v; k2 = w")),
        ("n=1 o=2", "n", Some("1 o=2")),
        ("k = x{y", "k", Some("x{y")),
        ("s { k = ${x} \n", "s.k", Some("${x")),
        ("s { k = \"${x}\" }", "s.k", Some("${x}")),
        ("a = b#c", "a", Some("b")),
        ("a = \\#5", "a", Some("\\")),
        ("a = // no comment", "a", Some("// no comment")),
        ("%any-_/*<!\\ü = 1", "%any-_/*<!\\ü", Some("1")),
        ("a = 1\r\nb = 2\r\n", "a", Some("1")),
        ("# only\n#comments", "a", None),
        ("s{k=v}", "s.k", Some("v")),
        ("a\t=\tb", "a", Some("b")),
        ("a=b", "a", Some("b")),
        ("a=b}", "", None),
    ] {
        let Ok(settings) = Settings::parse_str(text) else {
            assert_eq!(expected, None, "{text:?}");
            continue;
        };
        assert_eq!(settings.get_str(path), expected, "{text:?}");
    }
    for text in [
        "k = b}",
        "a.b = 1",
        "a.b { }",
        "a b = 1",
        "a",
        "a\n",
        "\"name\" = 1",
        "a {",
        "a { b {",
        "}",
        "a : { }",
        "a : b",
        "a : b, { }",
        "a : b. { }",
        "a : b c { }",
        "= 1",
        "{ }",
        ": a",
        ", a",
        "a, b = 1",
        "k = ${x}",
        "a { b }",
        "\0 = 1",
        "a = \0",
    ] {
        assert!(Settings::parse_str(text).is_err(), "{text:?}");
    }
}

#[test]
fn quoting() {
    for (text, expected) in [
        ("k = a   b\t c  ", "a b c"),
        ("k = a\\n", "a\\n"),
        ("k = \" a  b \"", " a  b "),
        ("k = \"a\nb\"", "a\nb"),
        ("k = \"a\r\nb\"", "a\nb"),
        ("k = \"#}={\"", "#}={"),
        ("k = a\"b\"c", "a b c"),
        ("k = \"a\"\"b\"", "a b"),
        ("k = \"a\" tail", "a tail"),
        ("k = 'x y'", "'x y'"),
        (r#"k = "\n\r\t\"\\\x""#, "\n\r\t\"\\x"),
        ("k = \"a\\\n  b\"", "a  b"),
        ("k = \"a\\\r\n  b\"", "a  b"),
        ("k = \"\"", ""),
    ] {
        assert_eq!(parse(text).get_str("k"), Some(expected), "{text:?}");
    }
    assert_eq!(error("a = 1\nk = \"abc"), "<memory>:2:5: unterminated string detected; add the closing '\"'");
    assert!(error("k = \"abc\\").contains("unterminated string"));
}

#[test]
fn bytes_that_are_not_utf8_survive() {
    let settings = Settings::parse_bytes("f", b"secret = gr\xfc\xdfe").unwrap();
    assert_eq!(settings.entry("secret").unwrap().bytes, b"gr\xfc\xdfe");
    assert_eq!(settings.get_str("secret"), Some("gr\u{fffd}\u{fffd}e"));
    assert!(Settings::parse_bytes("f", b"gr\xfc\xdfe = 1").unwrap_err().to_string().contains("UTF-8"));
}

#[test]
fn null_and_empty() {
    let settings = parse("d { k = 1 n = x\n j = 2 }\n a : d { k =\n e = \"\" }\n b { k = 1\n k = } c { k = \n k = 2 }");
    assert_eq!(settings.get_str("d.k"), Some("1 n = x"));
    assert_eq!(settings.get_str("a.k"), None);
    assert_eq!(settings.get_int("a.k", 7), 7);
    assert_eq!(settings.get_str("a.e"), Some(""));
    assert!(settings.get_bool("a.e", true));
    assert_eq!(settings.get_f64("a.e", 1.5), 1.5);
    assert_eq!(settings.get_time("a.e", Duration::from_secs(3)), Duration::from_secs(3));
    assert_eq!(keys(&settings, "a"), [("e", ""), ("j", "2")]);
    assert_eq!(settings.get_str("b.k"), None);
    assert_eq!(settings.get_str("c.k"), Some("2"));
}

#[test]
fn duplicates_merge_in_order() {
    let settings = parse(
        "s { a = 1\n b = 2\n t { x = 1\n } }\n s { b = 3\n c = 4\n a = 5\n t { y = 2\n } u { } }\n z = 1\n z = 2",
    );
    assert_eq!(keys(&settings, "s"), [("a", "5"), ("b", "3"), ("c", "4")]);
    assert_eq!(keys(&settings, "s.t"), [("x", "1"), ("y", "2")]);
    assert_eq!(settings.sections("s"), ["t", "u"]);
    assert_eq!(settings.get_str("z"), Some("2"));
    // A key and a section may share a name, and names are case-sensitive.
    let settings = parse("x = 1\n x { k = 2 }\n X = 3");
    assert_eq!(
        (settings.get_str("x"), settings.get_str("x.k"), settings.get_str("X")),
        (Some("1"), Some("2"), Some("3"))
    );
}

#[test]
fn inheritance() {
    let text = "
        conns { base { version = 2
                children { net { mode = tunnel
                                 esp = a } }
                local { auth = pubkey } } }
        d { k = d
            children { x { a = 1 } } }
        o : fw { children { y { } } }
        fw { deep = 1 }
        a : d, o { k =
            children { own { } } }
        c : conns.base { children { net { esp = b } more { } } }
        cc : c { }
        unknown : no.such.section { k = 1 }
    ";
    let settings = parse(text);
    assert_eq!(settings.get_str("a.k"), None);
    assert_eq!(settings.sections("a.children"), ["own", "x", "y"]);
    assert_eq!(settings.get_str("a.deep"), Some("1"));
    assert_eq!(settings.get_str("c.version"), Some("2"));
    assert_eq!(keys(&settings, "c.children.net"), [("esp", "b"), ("mode", "tunnel")]);
    assert_eq!(settings.sections("c.children"), ["net", "more"]);
    assert_eq!(settings.get_str("cc.children.net.esp"), Some("b"));
    assert_eq!(settings.get_str("cc.local.auth"), Some("pubkey"));
    assert_eq!(settings.get_str("unknown.k"), Some("1"));
    assert!(settings.has_section("cc.local") && !settings.has_section("cc.remote"));
    let view = settings.view("c.children");
    let children: Vec<_> = view.sections().iter().map(|child| (child.path(), child.get_str("mode"))).collect();
    assert_eq!(children, [("c.children.net".to_owned(), Some("tunnel")), ("c.children.more".to_owned(), None)]);
}

#[test]
fn inner_sections_and_their_references_win() {
    let settings = parse("t { sub { k = outer\n o = 1 } } u { k = inner } a : t { sub : u { } }");
    assert_eq!(settings.get_str("a.sub.k"), Some("inner"));
    assert_eq!(settings.get_str("a.sub.o"), Some("1"));
}

#[test]
fn parents_of_a_reference_inherit_too() {
    let settings = parse("x { s { k = 1 } } y : x { } a : y.s { }");
    assert_eq!(settings.get_str("a.k"), Some("1"));
}

#[test]
fn references_over_lines() {
    let settings = parse("b { k = 1 }\n c { d { l = 2 } }\na : # here\n b , # there\n c . d\n{ }");
    assert_eq!((settings.get_str("a.k"), settings.get_str("a.l")), (Some("1"), Some("2")));
}

#[test]
fn cycles_are_harmless() {
    let settings = parse("a : b { x = 1 } b : a { y = 2 } c : c { z = 3 } d : d.d { q = 1 }");
    assert_eq!(
        (settings.get_str("a.y"), settings.get_str("b.x"), settings.get_str("a.none")),
        (Some("2"), Some("1"), None)
    );
    assert_eq!(settings.get_str("c.z"), Some("3"));
    assert_eq!(settings.get_str("d.d.d.none"), None);
    assert_eq!(settings.get_str("d.none"), None);
}

#[test]
fn references_that_multiply_end() {
    let mut text = String::new();
    for level in 0..60 {
        text += &format!("s{level} : s{n}, s{n}x {{ }}\n s{level}x : s{n}, s{n}x {{ }}\n", n = level + 1);
    }
    assert_eq!(parse(&text).get_str("s0.a.b.c"), None);
    let text = "a : b.a, b.b { a : a.b { } b : b.a, a.a { } }  b : a.a, a.b, b.a.b { a : b.b { } b : a { } }";
    assert_eq!(parse(text).get_str("a.b.a.b.x"), None);
}

#[test]
fn program_fallbacks_come_last_and_stay() {
    let dir = Dir::new(
        "fallback",
        &[(
            "s.conf",
            "charon : mine { a = 1 } mine { b = mine }\nlibstrongswan { a = x\n b = x\n c = x\n p { q = 1 } }",
        )],
    );
    let mut settings = dir.load("s.conf").unwrap();
    settings.add_program_fallbacks("charon");
    let get = |settings: &Settings, key: &str| settings.get_str(&format!("charon.{key}")).map(str::to_owned);
    assert_eq!(get(&settings, "a").as_deref(), Some("1"));
    assert_eq!(get(&settings, "b").as_deref(), Some("mine"));
    assert_eq!(get(&settings, "c").as_deref(), Some("x"));
    assert_eq!(get(&settings, "p.q").as_deref(), Some("1"));
    settings.set("charon.port", "0");
    assert_eq!(settings.get_int("charon.port", 500_u16), 0);
    assert_eq!(settings.entry("charon.port").unwrap().origin.to_string(), "<program>");

    fs::write(dir.0.join("s.conf"), "libstrongswan { c = y }\n libtls { version_max = 1.3 }").unwrap();
    settings.reload().unwrap();
    assert_eq!(get(&settings, "a"), None);
    assert_eq!(get(&settings, "c").as_deref(), Some("y"));
    assert_eq!(get(&settings, "tls.version_max").as_deref(), Some("1.3"));
    assert_eq!(settings.get_int("charon.port", 500_u16), 500);

    fs::write(dir.0.join("s.conf"), "libstrongswan { c = z").unwrap();
    assert!(settings.reload().is_err());
    assert_eq!(get(&settings, "c").as_deref(), Some("y"));
}

#[test]
fn typed_lookups_take_defaults() {
    let settings = parse("s { b = yes\n i = 0x10\n t = 2m\n f = 1.5\n bad = on }");
    assert!(settings.get_bool("s.b", false));
    assert!(!settings.get_bool("s.bad", false));
    assert_eq!(settings.get_int("s.i", 1_u32), 16);
    assert_eq!(settings.get_int("s.t", 1_u32), 1);
    assert_eq!(settings.get_time("s.t", Duration::ZERO), Duration::from_secs(120));
    assert_eq!(settings.get_f64("s.f", 0.0), 1.5);
    assert_eq!(settings.get_str("s..i"), Some("0x10"));
    assert_eq!(settings.get_str(""), None);
}

#[test]
fn origins() {
    let settings = parse("a {\n  ü { k = \"é\" v\n   } # x\n}");
    let entry = settings.entry("a.ü.k").unwrap();
    assert_eq!(
        (entry.origin.to_string(), entry.value_origin.to_string()),
        ("<memory>:2:7".into(), "<memory>:2:11".into())
    );
    assert_eq!(settings.view("a.ü").origin().unwrap().to_string(), "<memory>:2:3");
}

#[test]
fn errors_name_the_place_and_what_was_expected() {
    assert_eq!(
        error("a {\n  b.c = 1\n}\nd e = 2\n"),
        "<memory>:2:4: syntax error, unexpected '.', expecting '=', '{' or ':'; names have no dots: write 'a { b = ... }' for a.b\n\
         <memory>:4:3: syntax error, unexpected name 'e' after 'd', expecting '=', '{' or ':'"
    );
    assert_eq!(
        error("a {\n b = 1\n"),
        "<memory>:3:1: syntax error, unexpected end of file, expecting '}' to close section 'a' opened at <memory>:1:1"
    );
    assert_eq!(
        error("a.b { \n c = 1\n}\n"),
        "<memory>:1:2: syntax error, unexpected '.', expecting '=', '{' or ':'; names have no dots: write 'a { b = ... }' for a.b"
    );
    assert!(error("= {\n}").starts_with("<memory>:1:1: syntax error, unexpected '='"));
    assert!(error(&"}\n".repeat(100)).lines().count() <= 20);
    assert!(error(&"a {".repeat(100)).contains("nested deeper than 64"));
}

#[test]
fn includes() {
    let dir = Dir::new(
        "include",
        &[
            (
                "main.conf",
                "a = 1\ninclude d/*.conf # all\nsec { include sub/x.conf\n include \"sub/with blank.conf\" }\ninclude none/*.conf\ninclude = key\ninclude=key2\nincluded = 1\nb = 2",
            ),
            ("d/2.conf", "two = 2\na = 3"),
            ("d/1.conf", "one = 1"),
            ("d/.hidden.conf", "hidden = 1"),
            ("d/dir.conf/x", ""),
            ("sub/x.conf", "x = 1\ninclude y.conf"),
            ("sub/y.conf", "y = 1"),
            ("sub/with blank.conf", "z = 1 # no newline at the end"),
        ],
    );
    let settings = dir.load("main.conf").unwrap();
    let top: Vec<_> = keys(&settings, "");
    assert_eq!(top, [("a", "3"), ("one", "1"), ("two", "2"), ("include", "key2"), ("included", "1"), ("b", "2")]);
    assert_eq!(keys(&settings, "sec"), [("x", "1"), ("y", "1"), ("z", "1")]);
    assert!(settings.entry("two").unwrap().origin.to_string().ends_with("d/2.conf:1:1"));
    let notices: Vec<_> = settings.notices().iter().map(|notice| (notice.level(), notice.to_string())).collect();
    assert_eq!(notices.len(), 2, "{notices:?}");
    assert!(notices.iter().any(|(level, text)| *level == 2 && text.contains("dir.conf")));
    assert!(notices.iter().any(|(level, text)| *level == 1
        && text.contains("main.conf:5:1: no files found matching '")
        && text.ends_with("none/*.conf'")));
}

#[test]
fn includes_are_spliced_as_tokens() {
    let dir = Dir::new(
        "splice",
        &[("m.conf", "include 1\ninclude 2\ninclude 3\n }"), ("1", "a { k = 1"), ("2", "l = 2 } b"), ("3", "{ m = 3")],
    );
    let settings = dir.load("m.conf").unwrap_err();
    // A statement cannot start between the name and its brace.
    assert!(settings.to_string().contains("unexpected"), "{settings}");
    let dir = Dir::new(
        "splice2",
        &[("m.conf", "include 1\ninclude 2\n x = 1 }"), ("1", "a { k = 1"), ("2", "l = 2 } b { m = 3")],
    );
    let settings = dir.load("m.conf").unwrap();
    assert_eq!((settings.get_str("a.k"), settings.get_str("a.l")), (Some("1"), Some("2")));
    assert_eq!((settings.get_str("b.m"), settings.get_str("b.x")), (Some("3"), Some("1")));
}

#[test]
fn include_patterns() {
    let dir = Dir::new(
        "pattern",
        &[
            ("a b#c}.conf", "k = 1"),
            ("m.conf", r#"include a\ b\#c\}.conf"#),
            ("q.conf", "include \"\"\ninclude  \nx = 1"),
        ],
    );
    assert_eq!(dir.load("m.conf").unwrap().get_str("k"), Some("1"));
    let settings = dir.load("q.conf").unwrap();
    assert_eq!(settings.get_str("x"), Some("1"));
    assert_eq!(settings.notices().iter().filter(|notice| notice.message.contains("empty include")).count(), 2);
    assert!(Settings::parse_str("include\n").is_err());
    assert!(Settings::parse_str("include { }").is_err());
    let long = format!("include {}", "x".repeat(5000));
    assert!(parse(&long).notices()[0].message.contains("too long"));
}

#[test]
fn runaway_includes_are_errors() {
    let dir = Dir::new(
        "loop",
        &[("self.conf", "a = 1\ninclude self.conf"), ("p.conf", "include q.conf"), ("q.conf", "include p.conf")],
    );
    assert!(dir.load("self.conf").unwrap_err().to_string().contains("self.conf:2:1: '"));
    assert!(dir.load("p.conf").unwrap_err().to_string().contains("includes itself"));
    let files: Vec<_> = (0..40).map(|n| (format!("{n}.conf"), format!("include {}.conf", n + 1))).collect();
    let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let dir = Dir::new("deep", &files);
    assert!(dir.load("0.conf").unwrap_err().to_string().contains("nested deeper than 32"));
    // The same file twice, one after the other, is no loop.
    let dir = Dir::new("twice", &[("m", "a { include x\n }\nb { include x\n }"), ("x", "k = 1")]);
    assert_eq!(dir.load("m").unwrap().get_str("b.k"), Some("1"));
}

#[test]
fn syntax_error_in_an_included_file_fails_the_load() {
    let dir = Dir::new("bad", &[("m", "a = 1\ninclude x"), ("x", "k = 1\n}")]);
    let error = dir.load("m").unwrap_err().to_string();
    assert!(error.contains("/x:2:1: syntax error, unexpected '}'"), "{error}");
}

#[test]
fn top_level_path_may_be_a_pattern() {
    let dir = Dir::new("top", &[("b.conf", "k = b"), ("a.conf", "k = a\n l = a")]);
    let settings = dir.load("*.conf").unwrap();
    assert_eq!((settings.get_str("k"), settings.get_str("l")), (Some("b"), Some("a")));
    assert!(matches!(dir.load("missing.conf"), Err(SettingsError::NotFound(_))));
    assert!(matches!(dir.load("."), Err(SettingsError::Unreadable { .. })));
}

fn statements() -> impl Strategy<Value = String> {
    let name = "[abcd]";
    let value = "(|x|\"q\\\\n\"| a  b )";
    let leaf = (name, value).prop_map(|(name, value)| format!("{name} = {value}\n"));
    leaf.prop_recursive(5, 60, 6, move |inner| {
        let body = prop::collection::vec(inner, 0..6).prop_map(|parts| parts.concat());
        let references = prop::collection::vec("[abcd](\\.[abcd]){0,2}", 0..3);
        (name, references, body).prop_map(|(name, references, body)| {
            let references =
                if references.is_empty() { String::new() } else { format!(" : {}", references.join(", ")) };
            format!("{name}{references} {{ {body} }}\n")
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn no_input_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        fuzzing::settings(&bytes);
    }

    #[test]
    fn no_text_of_the_grammar_panics(text in "([abcn#{}:.,=\"\\\\ \t\r\n]|include|é){0,80}") {
        fuzzing::settings(text.as_bytes());
    }

    #[test]
    fn any_tree_of_references_can_be_walked(parts in prop::collection::vec(statements(), 0..8)) {
        fuzzing::settings(parts.concat().as_bytes());
    }

    #[test]
    fn conversions_never_panic(text in "\\PC{0,20}") {
        let _ = (parse_bool(&text), parse_int::<i32>(&text), parse_int::<u64>(&text), parse_f64(&text), parse_time(&text));
    }
}
