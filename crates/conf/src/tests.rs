use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

fn read(text: &str, dialect: Dialect) -> Result<Vec<Directive>, Error> {
    let file = File { name: "a.conf".to_owned(), text: text.to_owned() };
    parse(file, dialect, &mut NoFiles).directives
}

/// Directives without their places.
fn shape(directives: &[Directive]) -> String {
    let one = |directive: &Directive| {
        let args: Vec<_> = directive.args.iter().map(|arg| &arg.text).collect();
        let block = directive.block.as_deref().map(shape);
        format!("({:?} {args:?} {block:?})", directive.name.text)
    };
    directives.iter().map(one).collect()
}

fn said(text: &str, dialect: Dialect) -> String {
    match read(text, dialect) {
        Ok(directives) => shape(&directives),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_file_has_words_and_blocks_and_their_places() {
    let text =
        "# about\nlisten 1935 \"[::]:1936\"; # both\r\nvhost a.org {\n\thls { enabled on; }\n}\n";
    let found = read(text, Dialect::Srs).expect("directives");
    assert_eq!(found.len(), 2);
    let at = |word: &Word| (word.at.line, word.at.column, word.at.width);
    assert_eq!((at(&found[0].name), at(&found[0].args[1])), ((2, 1, 6), (2, 13, 11)));
    assert_eq!(found[0].args[1].text, "[::]:1936");
    let enabled = found[1].get("hls").and_then(|hls| hls.get("enabled")).expect("it is there");
    assert_eq!(
        (at(&enabled.name), enabled.arg(), at(&enabled.args[0])),
        ((4, 8, 7), "on", (4, 16, 2))
    );
    assert_eq!(found[1].inner().len(), 1);
    assert_eq!(found[0].block, None);
}

#[test]
fn the_dialects_differ() {
    // SRS knows no escapes, leaves out what is empty, and wants an end on each line.
    assert_eq!(said(r"a b\n '\x';", Dialect::Srs), r#"("a" ["b\\n", "\\x"] None)"#);
    assert_eq!(said(r#"a b\n "\"x\\\q";"#, Dialect::Nginx), r#"("a" ["b\n", "\"x\\\\q"] None)"#);
    assert_eq!(said("a '' b;", Dialect::Srs), "(\"a\" [\"b\"] None)");
    assert_eq!(said("a '' b;", Dialect::Nginx), "(\"a\" [\"\", \"b\"] None)");
    assert_eq!(said("a b\nc d;", Dialect::Srs), "1:3: the directive `a` has no end");
    assert_eq!(said("a b\nc d;", Dialect::Nginx), "(\"a\" [\"b\", \"c\", \"d\"] None)");
    assert_eq!(said("a 'b\nc';", Dialect::Srs), "1:3: the quote ' is not closed");
    assert_eq!(said("a 'b\nc';", Dialect::Nginx), "(\"a\" [\"b\\nc\"] None)");
    assert_eq!(said("a ${b}c;", Dialect::Nginx), "(\"a\" [\"${b}c\"] None)");
    assert_eq!(
        said("if ($a = \"b\") {}", Dialect::Nginx),
        "(\"if\" [\"($a\", \"=\", \"b\", \")\"] Some(\"\"))"
    );
    // A brace on a line of its own is a habit.
    assert_eq!(said("a b # c\n{ }", Dialect::Srs), "(\"a\" [\"b\"] Some(\"\"))");
    for dialect in [Dialect::Srs, Dialect::Nginx] {
        assert_eq!(said("a b#c d}e f\"g;", dialect), "(\"a\" [\"b#c\", \"d}e\", \"f\\\"g\"] None)");
        assert_eq!(said("", dialect), "");
    }
}

#[test]
fn what_is_wrong_has_a_place() {
    for (text, what) in [
        ("a b", "1:3: the directive `a` has no end"),
        ("a {\n b c;\n", "1:1: the block `a` is not closed"),
        ("a { b }", "1:7: `b` has no end before this }"),
        ("a b;\n}", "2:1: this } closes no block"),
        (";", "1:1: this ; ends no directive"),
        ("a { ; }", "1:5: this ; ends no directive"),
        (" {", "1:2: this { has no directive before it"),
        ("a \"b", "1:3: the quote \" is not closed"),
        ("é \"b\"c;", "1:6: `c` directly behind a quote"),
        ("a \"b\"#c;", "1:6: `#` directly behind a quote"),
        ("include;", "1:1: include names no file"),
        ("include x;", "1:9: `x` cannot be included: nothing can be included here"),
    ] {
        for dialect in [Dialect::Srs, Dialect::Nginx] {
            assert_eq!(said(text, dialect), what, "{text}");
        }
    }
}

struct Folder(HashMap<&'static str, &'static str>);

impl Files for Folder {
    fn read(&mut self, named: &str, _: &str) -> Result<Vec<File>, String> {
        let text = self.0.get(named).ok_or("there is no such file")?;
        Ok(vec![File { name: named.to_owned(), text: (*text).to_owned() }])
    }
}

fn with(dialect: Dialect, main: &str, others: &[(&'static str, &'static str)]) -> Read {
    let file = File { name: "main".to_owned(), text: main.to_owned() };
    parse(file, dialect, &mut Folder(others.iter().copied().collect()))
}

#[test]
fn files_are_included_where_they_are_named() {
    let others = [("b", "x 1;\ninclude c;"), ("c", "y 2;"), ("bad", "z\n3;")];
    let read = with(Dialect::Srs, "a {\n include b c;\n}\nw;", &others);
    let all = read.directives.expect("directives");
    let names: Vec<_> = all[0].inner().iter().map(|d| (&*d.name.text, d.name.at.file)).collect();
    assert_eq!(names, [("x", 1), ("y", 2), ("y", 3)]);
    let files: Vec<_> = read.files.iter().map(|file| &*file.name).collect();
    assert_eq!(files, ["main", "b", "c", "c"]);
    let wrong = with(Dialect::Srs, "include bad;", &others).directives.expect_err("wrong");
    assert_eq!((wrong.at.file, wrong.at.line, wrong.at.column), (1, 1, 1));
    let missing = with(Dialect::Srs, "\ninclude none;", &others).directives.expect_err("missing");
    assert_eq!(missing.to_string(), "2:9: `none` cannot be included: there is no such file");
}

#[test]
fn of_nginx_only_what_rtmp_includes_is_read() {
    let others = [("apps", "application live { }")];
    let text = "http { include mime.types; }\nrtmp { server { include apps; } }";
    let all = with(Dialect::Nginx, text, &others).directives.expect("directives");
    assert_eq!(all[0].inner()[0].name.text, "include");
    let server = all[1].get("server").expect("a server");
    assert_eq!(server.inner()[0].arg(), "live");
}

#[test]
fn nothing_grows_without_bounds() {
    let itself = with(Dialect::Srs, "include self;", &[("self", "include self;")]);
    assert_eq!(itself.files.len(), INCLUDES_DEEP_MAX + 1);
    assert!(itself.directives.expect_err("endless").what.contains("include one another"));
    // Each of eight levels would be read twice as often as the one before.
    let twice = with(Dialect::Srs, "include a a;", &[("a", "include a a;")]);
    assert!(twice.directives.is_err());
    let many = with(Dialect::Srs, &"include a;".repeat(FILES_MAX), &[("a", "b;")]);
    assert!(many.directives.expect_err("too many").what.contains("files"));
    let deep = "a {".repeat(BLOCKS_DEEP_MAX + 1);
    assert!(said(&deep, Dialect::Srs).contains("blocks are in one another"));
    let closed = format!("{}{}", "a {".repeat(BLOCKS_DEEP_MAX), "}".repeat(BLOCKS_DEEP_MAX));
    assert!(read(&closed, Dialect::Srs).is_ok());
    let words = "a b;".repeat(WORDS_MAX / 2 + 1);
    assert!(said(&words, Dialect::Nginx).contains("words"));
    assert!(said(&" ".repeat(BYTES_MAX + 1), Dialect::Nginx).contains("MiB"));
}

/// Words of all kinds: plain ones, with quotes, marks, escapes.
fn words() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z_]{1,8}",
        "[a-z0-9./:\\[\\]*$-]{1,12}",
        "[ -~]{0,10}",
        "[ \\t;{}\"'#\\\\$\\pL\\n\\r]{1,6}",
    ]
}

fn directives() -> impl Strategy<Value = Vec<Directive>> {
    let word = || words().prop_map(|text| Word::new(text, At::default()));
    let leaf = (word(), prop::collection::vec(word(), 0..4)).prop_map(|(name, args)| Directive {
        name,
        args,
        block: None,
    });
    let tree = leaf.prop_recursive(4, 32, 4, move |inner| {
        let args = prop::collection::vec(word(), 0..3);
        (word(), args, prop::collection::vec(inner, 0..4))
            .prop_map(|(name, args, block)| Directive { name, args, block: Some(block) })
    });
    prop::collection::vec(tree, 0..5)
}

/// Whether there is a way to write it: no name is empty or includes, and SRS has no escapes and no lines in words.
fn can_be(directives: &[Directive], dialect: Dialect) -> bool {
    let is_word = |word: &Word| {
        let both = word.text.contains('"') && word.text.contains('\'');
        let is_plain = !word.text.starts_with(['"', '\'', '#', '}'])
            && !word.text.contains([' ', '\t', '\r', '\n', ';', '{']);
        dialect == Dialect::Nginx
            || (!word.text.is_empty() && !word.text.contains('\n') && (!both || is_plain))
    };
    directives.iter().all(|directive| {
        let name = &directive.name.text;
        !name.is_empty()
            && name != "include"
            && is_word(&directive.name)
            && directive.args.iter().all(is_word)
            && can_be(directive.inner(), dialect)
    })
}

proptest! {
    #[test]
    fn what_is_printed_is_read_as_the_same(all in directives(), is_srs: bool) {
        let dialect = if is_srs { Dialect::Srs } else { Dialect::Nginx };
        prop_assume!(can_be(&all, dialect));
        let text = print(&all, dialect);
        let back = read(&text, dialect);
        prop_assert_eq!(back.map(|back| shape(&back)), Ok(shape(&all)), "{}", text);
    }

    #[test]
    fn what_is_read_is_printed_so_that_it_is_read_as_the_same(
        text in "[a-c;{} \\n\\r\\t\"'#\\\\$)é]{0,60}", is_srs: bool
    ) {
        let dialect = if is_srs { Dialect::Srs } else { Dialect::Nginx };
        if let Ok(all) = read(&text, dialect) {
            let printed = print(&all, dialect);
            let back = read(&printed, dialect).map(|back| shape(&back));
            prop_assert_eq!(back, Ok(shape(&all)), "{}", printed);
        }
    }

    #[test]
    fn any_text_is_read_or_refused_with_a_place(text in "\\PC{0,200}", is_srs: bool) {
        let dialect = if is_srs { Dialect::Srs } else { Dialect::Nginx };
        if let Err(error) = read(&text, dialect) {
            let lines = text.lines().count().max(1);
            prop_assert!((1..=lines).contains(&error.at.line), "{}", error);
            prop_assert!(error.at.column >= 1 && !error.what.is_empty());
        }
    }

    #[test]
    fn comments_and_spaces_change_nothing(all in directives()) {
        prop_assume!(can_be(&all, Dialect::Srs));
        let text = print(&all, Dialect::Srs);
        let more = text.replace(";\n", " ; # it is } so {;\r\n\n\t").replace("{\n", "\n#x\n{\n");
        let is_untouched = all.is_empty() || !text.contains(['"', '\'']);
        if is_untouched {
            let back = read(&more, Dialect::Srs).map(|back| shape(&back));
            prop_assert_eq!(back, Ok(shape(&all)), "{}", more);
        }
    }
}
