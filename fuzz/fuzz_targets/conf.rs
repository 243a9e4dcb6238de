//! Any text as a file of directives, of SRS and of nginx. It is read, or refused with a place in it; what is read is
//! printed so that it is read as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_conf::{At, Dialect, Directive, Error, File, NoFiles, parse, print};

fn read(text: &str, dialect: Dialect) -> Result<Vec<Directive>, Error> {
    parse(File { name: "a".to_owned(), text: text.to_owned() }, dialect, &mut NoFiles).directives
}

/// Forgets where everything stands.
fn without_places(directives: &mut [Directive]) {
    for directive in directives {
        directive.name.at = At::default();
        directive.args.iter_mut().for_each(|arg| arg.at = At::default());
        without_places(directive.block.as_deref_mut().unwrap_or_default());
    }
}

fuzz_target!(|text: &str| {
    for dialect in [Dialect::Srs, Dialect::Nginx] {
        match read(text, dialect) {
            Ok(mut all) => {
                let printed = print(&all, dialect);
                let mut back = read(&printed, dialect).expect("what is printed can be read");
                without_places(&mut all);
                without_places(&mut back);
                assert_eq!(all, back, "{printed}");
            }
            Err(error) => {
                let lines = text.split('\n').count();
                assert!(error.at.line <= lines && !error.what.is_empty(), "{error:?}");
            }
        }
    }
});
