//! Where reports go and how they look there.

use std::fs;
use std::path::PathBuf;
use std::str::FromStr;

use plugpull_engine::file_disk::shown;
use plugpull_report::{RunReport, json, text};

use crate::failure::Failure;
use crate::output;

/// One `--format`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Format {
    kind: Kind,
    /// Standard output if none.
    file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Json,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, file) = match text.split_once('=') {
            Some((_, "")) => return Err("expected a file name after `=`".to_owned()),
            Some((name, file)) => (name, Some(PathBuf::from(file))),
            None => (text, None),
        };
        let kind = match name {
            "text" => Kind::Text,
            "json" => Kind::Json,
            _ => return Err(format!("expected `text` or `json`, found `{name}`")),
        };
        Ok(Self { kind, file })
    }
}

/// Writes the report in every format asked for; as text if none is.
pub(crate) fn emit(report: &RunReport, formats: &[Format]) -> Result<(), Failure> {
    let default = [Format { kind: Kind::Text, file: None }];
    for format in if formats.is_empty() { &default[..] } else { formats } {
        let rendered = match format.kind {
            Kind::Text => text::render(report, format.file.is_none()),
            Kind::Json => json::render(report),
        };
        match &format.file {
            None => output::print(&rendered),
            Some(file) => fs::write(file, rendered)
                .map_err(|error| Failure::input(format!("{}: {error}", shown(file))))?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_read() {
        let format = |kind, file: Option<&str>| Ok(Format { kind, file: file.map(PathBuf::from) });
        let cases = [
            ("text", format(Kind::Text, None)),
            ("json=a=b.json", format(Kind::Json, Some("a=b.json"))),
            ("json=", Err("expected a file name after `=`".to_owned())),
            ("html", Err("expected `text` or `json`, found `html`".to_owned())),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Format>(), expected, "{text}");
        }
    }
}
