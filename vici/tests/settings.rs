//! The grammar of strongswan.conf and swanctl.conf, as a table. What is accepted, and how it reads, was compared with
//! strongSwan 5.9.8; departures are marked.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ferry_vici::settings::{NoFiles, Section, Settings, SourceFile, Sources};
use proptest::prelude::*;

/// `key='value'` and `section { }` in the order a reader sees them.
fn show(section: &Section<'_>) -> String {
    let mut parts: Vec<String> = section
        .settings()
        .iter()
        .map(|setting| {
            format!("{}='{}'", setting.name(), String::from_utf8_lossy(setting.bytes()).escape_debug())
        })
        .collect();
    for inner in section.sections() {
        parts.push(format!("{} {{ {} }}", inner.name(), show(&inner)).replace("{  }", "{ }"));
    }
    parts.join(" ")
}

fn read(text: &str) -> String {
    match Settings::parse(text, "x.conf", &NoFiles) {
        Ok(settings) => show(&settings.root()),
        Err(error) => format!("error: {error}"),
    }
}

#[track_caller]
fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(read(text), *expected, "for {text:?}");
    }
}

#[test]
fn layout() {
    check(&[
        ("", ""),
        ("\u{feff}a = 1", "a='1'"), // departure: charon takes the mark for part of the name
        ("a = 1", "a='1'"),
        ("s\n{\n c\n {\n a=1\n }\n}\n", "s { c { a='1' } }"),
        ("s\n\n# x\n{ a=1 }", "s { a='1' }"),
        ("s { a=1 b=2 } t { }", "s { a='1 b=2' } t { }"),
        ("s { a\n = 2 }", "s { a='2' }"),
        ("s {\r\n a = 1\r\n b = \"x\"\r\n}\r\n", "s { a='1' b='x' }"),
        ("s\t{\ta\t=\t1\t2\t}", "s { a='1 2' }"),
        ("s { a = 1 } # end", "s { a='1' }"),
        ("s { # it\"s \\\n a = 1 }", "s { a='1' }"),
        ("c/d*?!@$%^&()[];'<>|~` { a-b_c/=1 }", "c/d*?!@$%^&()[];'<>|~` { a-b_c/='1' }"),
        ("cé { aé=é }", "cé { aé='é' }"),
        ("c\\d { a\\b=1 }", "c\\d { a\\b='1' }"),
        ("include = 1\ninclude=2\nincludex=3", "include='2' includex='3'"),
        ("s=1\ns { a=1 }", "s='1' s { a='1' }"),
    ]);
}

#[test]
fn values() {
    check(&[
        ("a = x,y={:.b", "a='x,y={:.b'"),
        ("a = = 1", "a='= 1'"),
        ("a = 1; b=2", "a='1; b=2'"),
        ("a = 1 2   3 # c\nb= 4\t5", "a='1 2 3' b='4 5'"),
        ("a = x#y", "a='x'"),
        ("a = \"x#y}\"", "a='x#y}'"),
        ("a = x\"y z\"w", "a='x y z w'"),
        ("a = \"1\"\"2\"", "a='1 2'"),
        ("a = x\\ny\\ z", "a='x\\\\ny\\\\ z'"), // no escapes outside quotes
        ("a = x\\\nb = 2", "a='x\\\\' b='2'"),
        ("a = \"x\\ny\\r\\t\\\"\\#\\\\\"", "a='x\\ny\\r\\t\\\"#\\\\'"),
        ("a = \"ab\\\ncd\"", "a='abcd'"),
        ("a = \"x\\\r\ny\"", "a='xy'"),
        ("a = \"x\ny\"", "a='x\\ny'"),
        ("a = \"x\r\ny\"", "a='x\\ny'"),
        ("a = \"x\" y \"z\" # c", "a='x y z'"),
        ("a = \u{1}\u{2}", "a='\\u{1}\\u{2}'"),
        ("a = x\ry", "a='x y'"),
    ]);
}

#[test]
fn empty_and_repeated() {
    check(&[
        ("a = \"\"\nb=2", "a='' b='2'"),
        ("a =\nb=2", "b='2'"),
        ("s { a = }", "s { }"),
        ("a = # foo\nb = 1", "b='1'"),
        ("a=1\na=\nb=2", "b='2'"),
        ("a=\nb=2\na=1", "a='1' b='2'"),
        ("a=1\nb=2\na=3", "a='3' b='2'"),
        ("s { x { a=1 } } t { } s { x { b=2 } y { c=1 } }", "s { x { a='1' b='2' } y { c='1' } } t { }"),
    ]);
}

#[test]
fn inheritance() {
    let base = "a { k=1\n q=1 }\nb : a { k=2\n r=1 }\nz { q=9\n k=9\n zz=1 }\n";
    for (text, expected) in [
        ("c : b, z { }", "k='2' r='1' q='1' zz='1'"), // depth first
        ("c : a, b { }", "k='1' q='1' r='1'"),
        ("c:a{ own=1 }", "own='1' k='1' q='1'"),
        ("c : a,\n z\n { }", "k='1' q='1' zz='1'"),
        ("c : a { k=\n }", "q='1'"), // unset hides
        ("c : b { k=\"\" }", "k='' r='1' q='1'"),
        ("c : a { }\n c : z { }", "k='1' q='1' zz='1'"),
        ("c : later.part { }\n later { part { l=1 } }", "l='1'"),
        ("u { k=\n }\n c : u, a { }", "q='1'"),
        ("c : nowhere, nowhere.else { own=1 }", "own='1'"),
        ("p { sub { b=2 } }\n q : p { }\n c : q.sub { a=1 }", "a='1' b='2'"), // through inheritance
        ("c : c.inner { inner { i=1 } }", "error: x.conf:8:2: section 'c' inherits from itself"),
    ] {
        let settings = Settings::parse(format!("{base} {text}"), "x.conf", &NoFiles);
        let shown = match settings {
            Ok(settings) => show(&settings.section("c").unwrap()),
            Err(error) => format!("error: {error}"),
        };
        assert_eq!(shown, expected, "for {text:?}");
    }
}

#[test]
fn inherited_sections() {
    for (text, expected) in [
        (
            "t1 { k=1\n sub { x=1\n y=1 } }\n t2 { k=2\n l=2\n sub { y=2\n z=2 }\n other { o=1 } }\n
             c : t1, t2 { own=1\n sub { x=9 } }",
            "own='1' k='1' l='2' sub { x='9' y='1' z='2' } other { o='1' }",
        ),
        (
            "t1 { sub : t3 { x=1 } }\n t3 { y=3\n x=3 }\n t2 { sub { y=2 } }\n t4 { y=4\n w=4 }
             c : t1, t2 { sub : t4 { } }",
            "sub { y='4' w='4' x='1' }",
        ),
        (
            "t1 { sub : t3 { } }\n t3 { y=3 }\n t2 { sub { y=2\n q=1 } }\n c : t1, t2 { sub { } }",
            "sub { y='3' q='1' }",
        ),
        (
            "t { s1 { a=1 } s2 { b=1 } }\n c : t { s3 { d=1 } s2 { e=1 } }",
            "s3 { d='1' } s2 { e='1' b='1' } s1 { a='1' }",
        ),
        ("a { s { k=1 } }\n c : a.s, a { }", "k='1' s { k='1' }"),
    ] {
        let settings = Settings::parse(text, "x.conf", &NoFiles).unwrap();
        assert_eq!(show(&settings.section("c").unwrap()), expected, "for {text:?}");
    }
}

#[test]
fn errors_name_place_and_expectation() {
    check(&[
        ("s { c.d { } }", "error: x.conf:1:6: expected '=', '{' or ':' after 'c', found '.'"),
        ("s {\n  a.b=1 }", "error: x.conf:2:4: expected '=', '{' or ':' after 'a', found '.'"),
        ("a:b=1", "error: x.conf:1:4: expected ',' or '{' after the section to inherit from, found '='"),
        ("\"a b\"=1", "error: x.conf:1:1: expected the name of a key or section, found a quoted string"),
        ("a, b { }", "error: x.conf:1:2: expected '=', '{' or ':' after 'a', found ','"),
        ("a\nb=2", "error: x.conf:2:1: expected '=', '{' or ':' after 'a', found 'b'"),
        (
            "secret \"hunter2\"",
            "error: x.conf:1:8: expected '=', '{' or ':' after 'secret', found a quoted string",
        ),
        ("s {\n c { a=1 }", "error: x.conf:1:1: section 's' is not closed before the end of the file"),
        ("s {\n c { a=1", "error: x.conf:2:2: section 's.c' is not closed before the end of the file"),
        ("s { } }", "error: x.conf:1:7: expected a key, a section or the end of the file, found '}'"),
        ("é = \"1 }\n", "error: x.conf:1:5: the quoted string is not closed before the end of the file"),
        ("a = \"x\\", "error: x.conf:1:5: the quoted string is not closed before the end of the file"),
        ("a = x\0y", "error: x.conf:1:6: expected a value, found '\\u{0}'"),
        ("c : t, { }", "error: x.conf:1:8: expected the name of a section to inherit from, found '{'"),
        (
            "c : \"a\" { }",
            "error: x.conf:1:5: expected the name of a section to inherit from, found a quoted string",
        ),
        (
            "c : t . s { }",
            "error: x.conf:1:7: expected ',' or '{' after the section to inherit from, found '.'",
        ),
        ("c : a..b { }", "error: x.conf:1:7: expected the name of a section to inherit from, found '.'"),
        ("include }", "error: x.conf:1:9: expected a file name pattern after 'include', found '}'"),
        ("include x", "error: x.conf:1:9: cannot look for files matching 'x': files cannot be included here"),
        // Departures: charon overlooks the first two and dies of the third.
        ("c : d { } d : c { }", "error: x.conf:1:1: section 'c' inherits from itself"),
        ("c : c { }", "error: x.conf:1:1: section 'c' inherits from itself"),
        ("c { b : c { x=2 } }", "error: x.conf:1:1: section 'c' inherits from itself"),
    ]);
    let latin1 = Settings::parse(b"# B\xfcro\nB\xfc = 1", "x.conf", &NoFiles).unwrap_err();
    assert_eq!(latin1.to_string(), "x.conf:2:1: expected a name in UTF-8, found 'B\u{fffd}'");
}

#[test]
fn octets_beyond_utf8_are_values_too() {
    let settings = Settings::parse(b"a = caf\xe9", "x.conf", &NoFiles).unwrap();
    assert_eq!(settings.setting("a").unwrap().bytes(), b"caf\xe9");
    assert_eq!(settings.get("a"), None);
}

#[test]
fn depth_and_amount_are_bounded() {
    let nested = |depth: usize| format!("{}{}", "s {".repeat(depth), "}".repeat(depth));
    assert!(Settings::parse(nested(64), "x.conf", &NoFiles).is_ok());
    assert_eq!(read(&nested(65)), "error: x.conf:1:193: sections nest deeper than 64");
    assert_eq!(read(&"s {".repeat(1_000_000)), "error: x.conf:1:193: sections nest deeper than 64");

    // 70 sections, each with the next one inside it by inheritance.
    let deep: String = (0..70).map(|n| format!("s{n} {{ in : s{} {{ }} }}\n", n + 1)).collect();
    assert!(read(&deep).ends_with("sections nest deeper than 64"), "{}", read(&deep));

    // Each section holds the next one twice: two to the power of 40 settings.
    let doubling: String =
        (0..40).map(|n| format!("s{n} {{ a : s{0} {{ }} b : s{0} {{ }} }}\n", n + 1)).collect();
    assert!(read(&format!("{doubling} s40 {{ k=1 }}")).contains("inherits more than"));

    let chain: String = (0..100_000).map(|n| format!("s{n} : s{} {{ }}\n", n + 1)).collect();
    assert_eq!(read(&chain), "error: x.conf:66:1: section 's65' inherits over more than 64 steps");
}

/// Files that are not on any disk.
struct Memory(BTreeMap<&'static str, &'static str>);

impl Sources for Memory {
    fn matching(&self, pattern: &str, directory: &Path) -> io::Result<Vec<PathBuf>> {
        let pattern = directory.join(pattern);
        let prefix = pattern.to_str().unwrap_or_default().trim_end_matches('*');
        let is_glob = pattern.ends_with("*");
        let matches = |name: &&&str| if is_glob { name.starts_with(prefix) } else { **name == prefix };
        Ok(self.0.keys().filter(matches).map(PathBuf::from).collect())
    }

    fn read(&self, path: &Path) -> io::Result<SourceFile> {
        let text = self.0.get(path.to_str().unwrap_or_default()).ok_or(io::ErrorKind::NotFound)?;
        Ok(SourceFile { identity: path.to_owned(), octets: text.as_bytes().to_vec().into() })
    }
}

#[test]
fn includes_land_in_place() {
    let files = Memory(BTreeMap::from([
        ("etc/d/1", "i=1"),
        ("etc/d/2", "include ../d/3\nsub { include 4 }\nnonl=1"),
        ("etc/d/../d/3", "three=3"),
        ("etc/d/4", "four=4"),
        ("etc/s p", "space=1"),
        ("etc/h#}", "hash=1"),
        ("etc/open", "x {"),
        ("etc/close", "}"),
        ("etc/bad", "\nbad bad"),
        ("etc/loop", "include loop2"),
        ("etc/loop2", "include loop"),
        ("etc/deep", "include deep/"),
    ]));
    for (text, expected) in [
        ("c { a=1\n include d/1\n b=2 }", "c { a='1' i='1' b='2' }"),
        ("c { include d/1 b=3\n }", "c { i='1' b='3' }"),
        ("c { include d/1}", "c { i='1' }"),
        ("c { include d/1# x\n b=2 }", "c { i='1' b='2' }"),
        ("c { include \"s p\"\n b=2 }", "c { space='1' b='2' }"),
        ("include s\\ p\ninclude h\\#\\}\ninclude \"h#}\"", "space='1' hash='1'"),
        ("include d/2", "three='3' nonl='1' sub { four='4' }"),
        ("include none\n a=1", "a='1'"),
        ("include open\n a=1", "error: etc/open:1:1: section 'x' is not closed before the end of the file"),
        (
            "c { include close\n",
            "error: etc/close:1:1: expected a key, a section or the end of the file, found '}'",
        ),
        ("a=1\ninclude bad", "error: etc/bad:2:5: expected '=', '{' or ':' after 'bad', found 'bad'"),
        ("include loop", "error: etc/loop2:1:9: etc/loop includes itself"),
        ("include main", "error: etc/main:1:9: etc/main includes itself"),
        ("include\nd/1", "error: etc/main:2:1: expected '=', '{' or ':' after 'include', found 'd/1'"),
    ] {
        let mut all = files.0.clone();
        all.insert("etc/main", text);
        let shown = match Settings::read_from(Path::new("etc/main"), &Memory(all)) {
            Ok(settings) => show(&settings.root()),
            Err(error) => format!("error: {error}"),
        };
        assert_eq!(shown, expected, "for {text:?}");
    }
}

#[test]
fn files_are_found_by_glob_and_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path().join("with [brackets]");
    std::fs::create_dir_all(directory.join("conf.d/dir.conf")).unwrap();
    for (name, text) in [
        ("main", "include conf.d/*.conf\ninclude absent/*.conf"),
        ("conf.d/b.conf", "b=1\nlast=b"),
        ("conf.d/a.conf", "a=1\nlast=a"),
        ("conf.d/.hidden.conf", "hidden=1"),
        ("conf.d/other", "other=1"),
        ("loop", "include ../*/loop"),
    ] {
        std::fs::write(directory.join(name), text).unwrap();
    }
    let settings = Settings::read(directory.join("main")).unwrap();
    assert_eq!(show(&settings.root()), "a='1' last='b' b='1'");
    let position = settings.setting("b").unwrap().position().to_string();
    assert!(position.ends_with("/conf.d/b.conf:1:1"), "{position}");
    let warnings: Vec<_> = settings.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].ends_with("/main:2:9: no file matches 'absent/*.conf'"), "{warnings:?}");

    let error = Settings::read(directory.join("loop")).unwrap_err().to_string();
    assert!(error.ends_with("includes itself"), "{error}");
    let error = Settings::read(directory.join("nowhere")).unwrap_err().to_string();
    assert!(error.starts_with("cannot read ") && error.contains("nowhere: No such file"), "{error}");
}

#[test]
fn a_missing_section_to_inherit_from_is_a_warning() {
    let settings = Settings::parse("c :\n  nowhere.here { }", "x.conf", &NoFiles).unwrap();
    let warnings: Vec<_> = settings.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["x.conf:2:3: there is no section 'nowhere.here' to inherit from"]);
}

#[test]
fn lookups_know_paths_and_positions() {
    let text = "charon {\n port = 0x1f4\n plugins { vici { socket = unix:///x } } }\ncharon { port = 501\n}";
    let settings = Settings::parse(text, "x.conf", &NoFiles).unwrap();
    assert_eq!(settings.get("charon.port"), Some("501"));
    assert_eq!(settings.get("charon.plugins.vici.socket"), Some("unix:///x"));
    assert_eq!(settings.get("charon.plugins.vici"), None);
    assert_eq!(settings.get("charon.nothing.here"), None);
    assert_eq!(settings.setting("charon.port").unwrap().position().to_string(), "x.conf:4:10");
    let plugins = settings.section("charon.plugins").unwrap();
    assert_eq!((plugins.path(), plugins.name()), ("charon.plugins", "plugins"));
    assert_eq!(plugins.position().unwrap().to_string(), "x.conf:3:2");
    let leaves: Vec<_> = settings.leaves().iter().map(|leaf| leaf.path().to_owned()).collect();
    assert_eq!(leaves, ["charon.port", "charon.plugins.vici.socket"]);
}

#[test]
fn typed_values() {
    let read = |value: &str| {
        let settings = Settings::parse(format!("s {{ k = {value}\n }}"), "x.conf", &NoFiles).unwrap();
        let setting = settings.setting("s.k").unwrap();
        (setting.bool().ok(), setting.int().ok(), setting.float().ok(), setting.time().ok())
    };
    let seconds = Duration::from_secs;
    assert_eq!(read("1"), (Some(true), Some(1), Some(1.0), Some(seconds(1))));
    assert_eq!(read("No"), (Some(false), None, None, None));
    assert_eq!(read("0x10"), (None, Some(16), None, None));
    assert_eq!(read("1.8"), (None, None, Some(1.8), None));
    assert_eq!(read("inf"), (None, None, None, None));
    assert_eq!(read("4h"), (None, None, None, Some(seconds(14_400))));
    assert_eq!(read("2 m"), (None, None, None, Some(seconds(120))));
    assert_eq!(read("1d").3, Some(seconds(86_400)));
    for bad in ["s", "1w", "-1s", "99999999999999999999d", "999999999999999999d", "1s2"] {
        assert_eq!(read(bad).3, None, "{bad}");
    }
    let settings = Settings::parse("s {\n k = soon\n }", "x.conf", &NoFiles).unwrap();
    let error = settings.setting("s.k").unwrap().time().unwrap_err().to_string();
    assert_eq!(error, "x.conf:2:2: s.k = soon: expected a time such as 30, 30s, 5m, 4h or 1d");
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "[a-c\\{\\}=:,.#\"\\\\ \n]{0,80}") {
        if let Ok(settings) = Settings::parse(&text, "x.conf", &NoFiles) {
            for leaf in settings.leaves() {
                let found = settings.setting(leaf.path()).map(|setting| setting.bytes().to_vec());
                prop_assert_eq!(found, Some(leaf.bytes().to_vec()));
            }
        }
    }

    #[test]
    fn any_octets_are_read_or_refused(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Err(error) = Settings::parse(&octets, "x.conf", &NoFiles) {
            prop_assert!(error.to_string().starts_with("x.conf:"), "{}", error);
        }
    }

    #[test]
    fn a_quoted_value_reads_back(value in ".{0,40}") {
        let quoted = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\r', "\\r");
        let settings = Settings::parse(format!("k = \"{quoted}\""), "x.conf", &NoFiles).unwrap();
        prop_assert_eq!(settings.get("k"), Some(value.as_str()));
    }
}

#[test]
fn default_settings_are_those_of_an_empty_file() {
    let settings = Settings::default();
    assert!(settings.leaves().is_empty());
    assert_eq!(settings.get("charon.port"), None);
    assert!(settings.section("charon").is_none());
}
