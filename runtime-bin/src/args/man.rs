//! Manual pages in roff (man(7)), made from the table.

use super::commands::{COMMANDS, Command};
use super::options::{GLOBAL, Opt, VERSION};

/// The pages by their file names: one for the program and one for each command.
pub(crate) fn pages() -> Vec<(String, String)> {
    let program = ("runtime.8".to_owned(), program_page());
    std::iter::once(program)
        .chain(COMMANDS.iter().map(|command| (format!("runtime-{}.8", command.name), command_page(command))))
        .collect()
}

fn program_page() -> String {
    let mut page = Page::new("runtime", super::help::ABOUT);
    page.section("SYNOPSIS");
    page.line(".B runtime");
    page.text("[global options] command [options]");
    page.section("DESCRIPTION");
    page.text(super::help::DESCRIPTION);
    page.section("COMMANDS");
    for command in COMMANDS {
        page.entry(&format!("\\fBruntime\\-{}\\fR(8)", escape(command.name)), command.about);
    }
    page.section("OPTIONS");
    page.options(GLOBAL.iter().chain(&[&VERSION]));
    page.section("EXIT STATUS");
    page.text(
        "run and exec: that of the program in the container, or 128 plus the number of the signal \
         that ended it, or 255 if the kernel refused to execute it. exec: 255 if the program could not be \
         started. 1 after other failures, 3 for an unknown command.",
    );
    page.0
}

fn command_page(command: &Command) -> String {
    let mut page = Page::new(&format!("runtime-{}", command.name), command.about);
    page.section("SYNOPSIS");
    page.line(&format!(".B runtime {}", escape(command.name)));
    page.text(format!("[options] {}", command.usage).trim_end());
    page.section("DESCRIPTION");
    page.text(command.description);
    if command.options.iter().any(|option| !option.hidden) {
        page.section("OPTIONS");
        page.options(command.options.iter());
    }
    page.section("SEE ALSO");
    page.line(".BR runtime (8)");
    page.0
}

/// A page that is being written.
struct Page(String);

impl Page {
    fn new(name: &str, about: &str) -> Self {
        let mut page = Self(String::new());
        page.line(&format!(
            ".TH {} 8 \"\" \"runtime {}\"",
            quoted(&name.to_uppercase()),
            crate::version::VERSION
        ));
        page.section("NAME");
        page.line(&format!("{} \\- {}", escape(name), escape(about)));
        page
    }

    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    fn section(&mut self, title: &str) {
        self.line(&format!(".SH {}", quoted(title)));
    }

    /// Paragraphs; lines that are indented stay as they are.
    fn text(&mut self, text: &str) {
        for line in text.lines() {
            match line.trim() {
                "" => self.line(".PP"),
                trimmed if line.starts_with(' ') => self.line(&format!(".EX\n{}\n.EE", protect(trimmed))),
                trimmed => self.line(&protect(trimmed)),
            }
        }
    }

    fn entry(&mut self, term: &str, text: &str) {
        self.line(".TP");
        self.line(term);
        self.text(text);
    }

    fn options<'a>(&mut self, options: impl Iterator<Item = &'a &'static Opt>) {
        for option in options.filter(|option| !option.hidden) {
            let value =
                option.value_name().map(|name| format!(" \\fI{}\\fR", escape(name))).unwrap_or_default();
            let short = option.short.map(|short| format!(", \\fB\\-{short}\\fR{value}")).unwrap_or_default();
            let term = format!("\\fB\\-\\-{}\\fR{value}{short}", escape(option.name));
            self.entry(&term, option.help);
        }
    }
}

/// Text in which nothing is a request of roff.
fn escape(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}

/// The same for a line of its own: a dot or quote at its beginning would be a request.
fn protect(line: &str) -> String {
    let guard = if line.starts_with(['.', '\'']) { "\\&" } else { "" };
    format!("{guard}{}", escape(line))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", escape(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_a_page() {
        let pages = pages();
        assert!(pages.iter().any(|(name, _)| name == "runtime-create.8"));
        for (name, page) in &pages {
            assert!(page.starts_with(".TH \"RUNTIME"), "{name}");
            assert!(page.contains(".SH \"NAME\"\nruntime"), "{name}");
        }
    }

    #[test]
    fn text_is_never_a_request() {
        assert_eq!(protect(".so /etc/passwd"), "\\&.so /etc/passwd");
        assert_eq!(protect("'x"), "\\&'x");
        assert_eq!(escape("a\\b-c"), "a\\eb\\-c");
    }
}
