//! The tags of Tera in a source: `{{ … }}`, `{% … %}`, `{# … #}`, and raw blocks as one.
//!
//! Just enough lexing to know where a tag ends: strings and maps inside may hold the closing marks. What a tag says is read by
//! [`super::scan`]; whether it is well formed is Tera's business.

use std::ops::Range;

/// What a tag is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Expression,
    Statement,
    Comment,
    /// `{% raw %}…{% endraw %}`, with what stands between.
    Raw,
}

/// One tag. Ranges are bytes of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tag {
    pub kind: Kind,
    pub range: Range<usize>,
    /// Between the marks, without the `-` that trims.
    pub inner: Range<usize>,
    pub trims_left: bool,
    pub trims_right: bool,
}

impl Tag {
    /// What stands between the marks.
    pub fn inner<'a>(&self, source: &'a str) -> &'a str {
        source[self.inner.clone()].trim()
    }

    /// The first word of a statement: `if`, `endfor`; empty for whatever is not a statement or begins with no word.
    pub fn word<'a>(&self, source: &'a str) -> &'a str {
        if self.kind != Kind::Statement {
            return "";
        }
        let inner = self.inner(source);
        &inner[..inner.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(inner.len())]
    }

    /// What a statement says after its first word.
    pub fn rest<'a>(&self, source: &'a str) -> &'a str {
        self.inner(source)[self.word(source).len()..].trim()
    }
}

/// An expression that prints nothing, and that no trimming looks beyond.
pub(super) const NOTHING: &str = "{{ \"\" }}";

/// What is left of tags that were resolved: nothing, or a comment that trims as they did.
pub(super) fn trimming(left: bool, right: bool) -> &'static str {
    match (left, right) {
        (false, false) => "",
        (true, false) => "{#- #}",
        (false, true) => "{# -#}",
        (true, true) => "{#- -#}",
    }
}

/// Whether a source may call a function.
pub(super) fn calls(source: &str, function: &str) -> bool {
    let in_tag = |inner: &str| inner.split(function).skip(1).any(|rest| rest.trim_start().starts_with('('));
    tags(source).iter().any(|t| matches!(t.kind, Kind::Expression | Kind::Statement) && in_tag(t.inner(source)))
}

/// All tags of a source in order. What is not closed ends the list.
pub(super) fn tags(source: &str) -> Vec<Tag> {
    let mut out: Vec<Tag> = Vec::new();
    let mut at = 0;
    while let Some(tag) = next(source, at) {
        at = tag.range.end;
        if tag.word(source) == "raw" {
            let end = end_of_raw(source, at);
            let trims_right = source[..end].ends_with("-%}");
            at = end;
            out.push(Tag { kind: Kind::Raw, range: tag.range.start..end, trims_right, ..tag });
        } else {
            out.push(tag);
        }
    }
    out
}

fn next(source: &str, mut at: usize) -> Option<Tag> {
    let bytes = source.as_bytes();
    loop {
        at += source.get(at..)?.find('{')?;
        let (kind, close): (Kind, &[u8]) = match bytes.get(at + 1)? {
            b'#' => (Kind::Comment, b"#}"),
            b'{' => (Kind::Expression, b"}}"),
            b'%' => (Kind::Statement, b"%}"),
            _ => {
                at += 1;
                continue;
            }
        };
        let end = match kind {
            Kind::Comment => at + 2 + source[at + 2..].find("#}")?,
            _ => closing(bytes, at + 2, close)?,
        };
        let trims_left = bytes.get(at + 2) == Some(&b'-') && at + 2 < end;
        let trims_right = end > at + 2 && bytes[end - 1] == b'-';
        let start = at + 2 + usize::from(trims_left);
        let inner = start..(end - usize::from(trims_right)).max(start);
        return Some(Tag { kind, range: at..end + 2, inner, trims_left, trims_right });
    }
}

fn closing(bytes: &[u8], mut i: usize, close: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    let mut quote = None;
    while i < bytes.len() {
        match (quote, bytes[i]) {
            (Some(q), b) if q == b => quote = None,
            (Some(_), b'\\') => i += 1,
            (Some(_), _) => {}
            (None, b @ (b'"' | b'\'' | b'`')) => quote = Some(b),
            (None, _) if depth == 0 && bytes[i..].starts_with(close) => return Some(i),
            (None, b'{') => depth += 1,
            (None, b'}') => depth = depth.saturating_sub(1),
            (None, _) => {}
        }
        i += 1;
    }
    None
}

/// Behind the `{% endraw %}` that closes the block whose inside begins at `at`.
fn end_of_raw(source: &str, mut at: usize) -> usize {
    while let Some(start) = source[at..].find("{%").map(|i| at + i) {
        let inner = source[start + 2..].trim_start_matches('-').trim_start();
        at = start + 2;
        if inner.starts_with("endraw") {
            return source[start..].find("%}").map_or(source.len(), |end| start + end + 2);
        }
    }
    source.len()
}

/// For each tag that opens something, the tag that closes it. Tags that open nothing, or are never closed, have none.
pub(super) fn partners(source: &str, tags: &[Tag]) -> Vec<Option<usize>> {
    let mut partners = vec![None; tags.len()];
    let mut open: Vec<usize> = Vec::new();
    for (i, tag) in tags.iter().enumerate().filter(|(_, t)| t.kind == Kind::Statement) {
        let inner = tag.inner(source);
        match tag.word(source) {
            "if" | "for" | "block" | "filter" | "component" => open.push(i),
            "set" | "set_global" if !sets_at_once(inner) => open.push(i),
            "" if inner.starts_with("</") => close(&mut partners, &mut open, i),
            "" if inner.starts_with('<') && !inner.ends_with("/>") => open.push(i),
            word if word.starts_with("end") => close(&mut partners, &mut open, i),
            _ => {}
        }
    }
    partners
}

fn close(partners: &mut [Option<usize>], open: &mut Vec<usize>, i: usize) {
    if let Some(start) = open.pop() {
        partners[start] = Some(i);
    }
}

/// `set x = …`, as against `set x` with its value up to `endset`.
fn sets_at_once(inner: &str) -> bool {
    inner.contains('=')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_end_where_tera_ends_them() {
        let source =
            r#"a{{ "}}" ~ {"k": {"l": 1}}["k"] }}{%- if x -%}b{# {{ #}{% raw %}{{ no }}{%- endraw -%}c{% endif %}"#;
        let found: Vec<_> = tags(source).into_iter().map(|t| (t.kind, source[t.range.clone()].to_owned())).collect();
        assert_eq!(
            found,
            [
                (Kind::Expression, r#"{{ "}}" ~ {"k": {"l": 1}}["k"] }}"#.to_owned()),
                (Kind::Statement, "{%- if x -%}".to_owned()),
                (Kind::Comment, "{# {{ #}".to_owned()),
                (Kind::Raw, "{% raw %}{{ no }}{%- endraw -%}".to_owned()),
                (Kind::Statement, "{% endif %}".to_owned()),
            ]
        );
        let tags = tags(source);
        assert_eq!((tags[1].inner(source), tags[1].trims_left, tags[1].trims_right), ("if x", true, true));
        assert_eq!(partners(source, &tags)[1], Some(4));
    }

    #[test]
    fn what_is_not_closed_is_no_panic() {
        for source in ["{", "{{", "{%-", "{%-%}", "{{-}}", "{#-#}", "{% raw %}", "{{ '", "{% raw %}{% endraw", "日{{本"]
        {
            let tags = tags(source);
            partners(source, &tags);
        }
    }
}
