//! Results of tests as JUnit XML, which every CI system shows: a suite for each file, a case for each test.

use std::fmt::Write as _;

/// One test.
pub struct Case {
    /// What it belongs to: a segment or a campaign.
    pub suite: String,
    pub name: String,
    pub outcome: Outcome,
}

pub enum Outcome {
    Passed,
    /// Why.
    Failed(String),
    /// Why it was not run.
    Skipped(String),
}

/// The document. Cases come in the order of their suites.
pub fn document(cases: &[Case]) -> String {
    let failed = |c: &&Case| matches!(c.outcome, Outcome::Failed(_));
    let skipped = |c: &&Case| matches!(c.outcome, Outcome::Skipped(_));
    let counts = |cases: &[Case]| {
        let (failures, skips) = (cases.iter().filter(failed).count(), cases.iter().filter(skipped).count());
        format!("tests=\"{}\" failures=\"{failures}\" skipped=\"{skips}\"", cases.len())
    };
    let mut out =
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"okaeri\" {}>\n", counts(cases));
    for suite in cases.chunk_by(|a, b| a.suite == b.suite) {
        let name = escaped(&suite[0].suite);
        let _ = writeln!(out, "  <testsuite name=\"{name}\" {}>", counts(suite));
        for case in suite {
            let head = format!("    <testcase classname=\"{name}\" name=\"{}\"", escaped(&case.name));
            let _ = match &case.outcome {
                Outcome::Passed => writeln!(out, "{head}/>"),
                Outcome::Failed(why) => writeln!(out, "{head}><failure>{}</failure></testcase>", escaped(why)),
                Outcome::Skipped(why) => writeln!(out, "{head}><skipped message=\"{}\"/></testcase>", escaped(why)),
            };
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

/// Text for an element or an attribute; characters that XML 1.0 cannot hold are left out.
fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => out.push(c),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_stand_in_their_suites_and_nothing_breaks_out() {
        let case = |suite: &str, name: &str, outcome| Case { suite: suite.into(), name: name.into(), outcome };
        let text = document(&[
            case("regulars", "six orders & more", Outcome::Passed),
            case("regulars", "<b>", Outcome::Failed("expected in,\u{0} \"out\"".into())),
            case("新しい", "open", Outcome::Skipped("no data".into())),
        ]);
        insta::assert_snapshot!(text, @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites name="okaeri" tests="3" failures="1" skipped="1">
          <testsuite name="regulars" tests="2" failures="1" skipped="0">
            <testcase classname="regulars" name="six orders &amp; more"/>
            <testcase classname="regulars" name="&lt;b&gt;"><failure>expected in, &quot;out&quot;</failure></testcase>
          </testsuite>
          <testsuite name="新しい" tests="1" failures="0" skipped="1">
            <testcase classname="新しい" name="open"><skipped message="no data"/></testcase>
          </testsuite>
        </testsuites>
        "#);
    }
}
