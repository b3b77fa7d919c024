//! Why a scenario file is not a scenario: the place, the line itself, what was expected.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// A scenario file that was refused. Prints with file, line, column, the line and what was
/// expected there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileError {
    /// The file's name as it is to be printed.
    pub file: String,
    /// Its text.
    pub text: String,
    /// The bytes of the text that are wrong; empty at the start if nothing smaller is.
    pub span: Range<usize>,
    /// What is wrong.
    pub problem: String,
    /// What was expected, to print beside the place; may be empty.
    pub expected: String,
}

/// A [`FileError`] before it is known which file it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) span: Range<usize>,
    pub(super) problem: String,
    pub(super) expected: String,
}

impl Problem {
    pub(super) fn at<T>(
        place: &toml::Spanned<T>,
        problem: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self { span: place.span(), problem: problem.into(), expected: expected.into() }
    }

    /// The same for a place that has lost its value.
    pub(super) fn on(
        span: std::ops::Range<usize>,
        problem: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self { span, problem: problem.into(), expected: expected.into() }
    }

    /// From an error of the TOML reader, which joins problem and expectation by a comma.
    pub(super) fn of_toml(error: &toml::de::Error) -> Self {
        let message = error.message().trim_end();
        let (problem, expected) = match message.split_once(", expected ") {
            Some((problem, expected)) => (problem.to_owned(), format!("expected {expected}")),
            None => (message.replace('\n', "; "), String::new()),
        };
        Self { span: error.span().unwrap_or(0..0), problem, expected }
    }

    pub(super) fn into_file_error(self, file: &str, text: &str) -> FileError {
        let Self { span, problem, expected } = self;
        // A section's span may start with its header line: that is the line to show.
        let end = span.end.clamp(span.start, text.len());
        let first_line = text[span.start..end].find('\n').map_or(end, |len| span.start + len);
        FileError {
            file: file.to_owned(),
            text: text.to_owned(),
            span: span.start..first_line.max(span.start),
            problem,
            expected,
        }
    }
}

impl FileError {
    /// The error for people, over several lines; with colours if `styled`.
    #[must_use]
    pub fn render(&self, styled: bool) -> String {
        let primary = AnnotationKind::Primary.span(self.span.clone());
        let annotation =
            if self.expected.is_empty() { primary } else { primary.label(self.expected.as_str()) };
        let snippet =
            Snippet::source(self.text.as_str()).path(self.file.as_str()).annotation(annotation);
        let report = [Level::ERROR.primary_title(self.problem.as_str()).element(snippet)];
        let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
        renderer.render(&report)
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for FileError {}
