//! SMTP command lines, as pure functions from bytes to meaning.
//!
//! Holds the grammar of RFC 5321 §4.1.1 with the parameters of the extensions the catcher speaks: SIZE
//! (RFC 1870), BODY (RFC 6152), SMTPUTF8 (RFC 6531), DSN (RFC 3461), BDAT (RFC 3030), AUTH (RFC 4954), STARTTLS
//! (RFC 3207). It is strict where real servers are often lenient: the catcher is a judge of what a client sends.
//! A line that does not parse becomes the [`Reply`] that refuses it. Nothing here knows the state of a session.

use super::behaviour::Reply;
use super::extensions::Extensions;

/// Longest `MAIL` or `RCPT` path in octets (RFC 5321 §4.5.3.1.3).
pub const PATH_BYTES_MAX: usize = 256;

/// One command, checked for syntax only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    Ehlo(String),
    Helo(String),
    StartTls,
    Auth { mechanism: String, initial: Option<String> },
    Mail { path: String, parameters: MailParameters },
    Rcpt { path: String, parameters: String },
    Data,
    Bdat { bytes: u64, last: bool },
    Rset,
    Noop,
    Vrfy(String),
    Quit,
}

/// What a `MAIL` command said beside the path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct MailParameters {
    /// The parameters as written, for the record.
    pub written: String,
    /// Declared size in bytes (RFC 1870).
    pub size: Option<u64>,
    /// `BODY=8BITMIME` was given.
    pub eight_bit: bool,
    /// `SMTPUTF8` was given.
    pub utf8: bool,
}

/// Reads one command line without its CRLF.
///
/// `extensions` decides which parameters exist: one that was not announced is refused with 555.
pub(super) fn parse(line: &[u8], extensions: &Extensions) -> Result<Command, Reply> {
    let line = std::str::from_utf8(line).map_err(|_| Reply::new(500, "5.5.2", "The command is not valid UTF-8"))?;
    if line.chars().any(char::is_control) {
        return Err(Reply::new(500, "5.5.2", "The command contains a control character"));
    }
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let rest = rest.trim_end_matches(' ');
    match verb.to_ascii_uppercase().as_str() {
        "EHLO" => Ok(Command::Ehlo(domain(rest)?)),
        "HELO" => Ok(Command::Helo(domain(rest)?)),
        "STARTTLS" => bare(rest, Command::StartTls),
        "AUTH" => auth(rest),
        "MAIL" => mail(rest, extensions),
        "RCPT" => rcpt(rest, extensions),
        "DATA" => bare(rest, Command::Data),
        "BDAT" => bdat(rest),
        "RSET" => bare(rest, Command::Rset),
        "NOOP" => Ok(Command::Noop),
        "VRFY" if rest.is_empty() => Err(Reply::new(501, "5.5.4", "VRFY needs an address")),
        "VRFY" => Ok(Command::Vrfy(rest.to_owned())),
        "QUIT" => bare(rest, Command::Quit),
        "EXPN" | "HELP" | "TURN" => Err(Reply::new(502, "5.5.1", "Command not implemented")),
        _ => Err(Reply::new(500, "5.5.2", "Command not recognised")),
    }
}

fn bare(rest: &str, command: Command) -> Result<Command, Reply> {
    if rest.is_empty() { Ok(command) } else { Err(Reply::new(501, "5.5.4", "This command takes no argument")) }
}

fn domain(rest: &str) -> Result<String, Reply> {
    if rest.is_empty() || rest.contains(' ') {
        return Err(Reply::new(501, "5.5.4", "Say who you are: EHLO host.example.com"));
    }
    Ok(rest.to_owned())
}

fn auth(rest: &str) -> Result<Command, Reply> {
    let mut words = rest.split(' ');
    let mechanism = words.next().unwrap_or_default().to_ascii_uppercase();
    let initial = words.next().map(str::to_owned);
    if mechanism.is_empty() || words.next().is_some() {
        return Err(Reply::new(501, "5.5.4", "Syntax: AUTH mechanism [initial-response]"));
    }
    Ok(Command::Auth { mechanism, initial })
}

fn bdat(rest: &str) -> Result<Command, Reply> {
    let refused = || Reply::new(501, "5.5.4", "Syntax: BDAT bytes [LAST]");
    let (bytes, last) = match rest.split_once(' ') {
        None => (rest, false),
        Some((bytes, last)) if last.eq_ignore_ascii_case("LAST") => (bytes, true),
        Some(_) => return Err(refused()),
    };
    if bytes.is_empty() || !bytes.bytes().all(|b| b.is_ascii_digit()) {
        return Err(refused());
    }
    Ok(Command::Bdat { bytes: bytes.parse().map_err(|_| refused())?, last })
}

fn mail(rest: &str, extensions: &Extensions) -> Result<Command, Reply> {
    let (path, written) = path_after(rest, "FROM:")?;
    let mut parameters = MailParameters { written: written.to_owned(), ..MailParameters::default() };
    let (mut ret, mut envid, mut body) = (false, false, false);
    for parameter in written.split(' ').filter(|p| !p.is_empty()) {
        let (key, value) = split_parameter(parameter);
        let fresh = match (key.as_str(), value) {
            ("SIZE", Some(value)) if extensions.size_max.is_some() => {
                let size = value.parse().map_err(|_| bad_value(parameter))?;
                parameters.size.replace(size).is_none()
            }
            ("BODY", Some(value)) if extensions.eight_bit_mime => {
                parameters.eight_bit = match value.to_ascii_uppercase().as_str() {
                    "7BIT" => false,
                    "8BITMIME" => true,
                    _ => return Err(bad_value(parameter)),
                };
                !std::mem::replace(&mut body, true)
            }
            ("SMTPUTF8", None) if extensions.smtp_utf8 => !std::mem::replace(&mut parameters.utf8, true),
            ("RET", Some(value)) if extensions.dsn => {
                if !["FULL", "HDRS"].iter().any(|known| value.eq_ignore_ascii_case(known)) {
                    return Err(bad_value(parameter));
                }
                !std::mem::replace(&mut ret, true)
            }
            ("ENVID", Some(value)) if extensions.dsn && is_xtext(value) => !std::mem::replace(&mut envid, true),
            ("ENVID", Some(_)) if extensions.dsn => return Err(bad_value(parameter)),
            _ => return Err(unknown(parameter)),
        };
        if !fresh {
            return Err(twice(parameter));
        }
    }
    if !path.is_empty() {
        check_address(&path)?;
    }
    if !path.is_ascii() && !parameters.utf8 {
        return Err(Reply::new(553, "5.6.7", "A non-ASCII address needs the SMTPUTF8 parameter"));
    }
    Ok(Command::Mail { path, parameters })
}

fn rcpt(rest: &str, extensions: &Extensions) -> Result<Command, Reply> {
    let (path, written) = path_after(rest, "TO:")?;
    let (mut notify, mut orcpt) = (false, false);
    for parameter in written.split(' ').filter(|p| !p.is_empty()) {
        let (key, value) = split_parameter(parameter);
        let (seen, valid) = match (key.as_str(), value) {
            ("NOTIFY", Some(value)) if extensions.dsn => (&mut notify, is_notify(value)),
            ("ORCPT", Some(value)) if extensions.dsn => {
                let typed = value.split_once(';').is_some_and(|(kind, text)| !kind.is_empty() && is_xtext(text));
                (&mut orcpt, typed)
            }
            _ => return Err(unknown(parameter)),
        };
        if !valid {
            return Err(bad_value(parameter));
        }
        if std::mem::replace(seen, true) {
            return Err(twice(parameter));
        }
    }
    if path.is_empty() {
        return Err(Reply::new(553, "5.1.3", "A recipient cannot be empty"));
    }
    if !path.eq_ignore_ascii_case("postmaster") {
        check_address(&path)?;
    }
    Ok(Command::Rcpt { path, parameters: written.to_owned() })
}

/// Splits `FROM:<path> parameters` and drops a source route (RFC 5321 §4.1.1.3, appendix C).
fn path_after<'a>(rest: &'a str, keyword: &str) -> Result<(String, &'a str), Reply> {
    let refused = || Reply::new(501, "5.5.4", format!("Syntax: {keyword}<address> [parameters]"));
    let tail = rest
        .get(..keyword.len())
        .filter(|head| head.eq_ignore_ascii_case(keyword))
        .and_then(|_| rest[keyword.len()..].strip_prefix('<'))
        .ok_or_else(refused)?;
    let end = closing_bracket(tail).ok_or_else(refused)?;
    let (path, parameters) = (&tail[..end], &tail[end + 1..]);
    if path.len() > PATH_BYTES_MAX {
        return Err(Reply::new(501, "5.1.7", format!("A path has at most {PATH_BYTES_MAX} octets")));
    }
    let mailbox = match path.strip_prefix('@') {
        Some(route) => route.split_once(':').ok_or_else(refused)?.1,
        None => path,
    };
    match parameters.strip_prefix(' ') {
        Some(parameters) => Ok((mailbox.to_owned(), parameters)),
        None if parameters.is_empty() => Ok((mailbox.to_owned(), "")),
        None => Err(refused()),
    }
}

/// Where the `>` stands that ends a path; one inside a quoted local part does not count.
fn closing_bracket(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

fn check_address(address: &str) -> Result<(), Reply> {
    let refused = || Reply::new(553, "5.1.3", "That is not a mailbox address");
    let (local, domain) = address.rsplit_once('@').ok_or_else(refused)?;
    let quoted = local.len() > 2 && local.starts_with('"') && local.ends_with('"');
    let odd = |c: char| " <>,;\"()".contains(c);
    let bad_local = local.is_empty() || (!quoted && local.contains(|c| odd(c) || c == '@'));
    let bad_domain = domain.is_empty() || domain.contains(odd) || domain.split('.').any(str::is_empty);
    if bad_local || bad_domain { Err(refused()) } else { Ok(()) }
}

fn split_parameter(parameter: &str) -> (String, Option<&str>) {
    match parameter.split_once('=') {
        Some((key, value)) => (key.to_ascii_uppercase(), Some(value)),
        None => (parameter.to_ascii_uppercase(), None),
    }
}

/// `NEVER`, or a list of distinct occasions (RFC 3461 §4.1).
fn is_notify(value: &str) -> bool {
    let value = value.to_ascii_uppercase();
    let mut rest = vec!["SUCCESS", "FAILURE", "DELAY"];
    value == "NEVER"
        || value.split(',').all(|word| {
            let before = rest.len();
            rest.retain(|known| *known != word);
            rest.len() < before
        })
}

/// RFC 3461 §4: printable ASCII without `+` and `=`, or `+` and two upper-case hexadecimal digits.
fn is_xtext(text: &str) -> bool {
    let mut bytes = text.bytes();
    let hex = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b));
    let mut some = false;
    while let Some(byte) = bytes.next() {
        some = true;
        let fine = match byte {
            b'+' => hex(bytes.next()) && hex(bytes.next()),
            b'=' => false,
            _ => byte.is_ascii_graphic(),
        };
        if !fine {
            return false;
        }
    }
    some
}

fn unknown(parameter: &str) -> Reply {
    Reply::new(555, "5.5.4", format!("Parameter not announced by EHLO: {parameter}"))
}

fn bad_value(parameter: &str) -> Reply {
    Reply::new(501, "5.5.4", format!("Parameter has an invalid value: {parameter}"))
}

fn twice(parameter: &str) -> Reply {
    Reply::new(501, "5.5.4", format!("Parameter is given twice: {parameter}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Command, u16> {
        parse(line.as_bytes(), &Extensions::default()).map_err(|reply| reply.code)
    }

    fn sender(line: &str) -> (String, MailParameters) {
        match read(line) {
            Ok(Command::Mail { path, parameters }) => (path, parameters),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn verbs_ignore_case_and_trailing_spaces() {
        assert_eq!(read("rset"), Ok(Command::Rset));
        assert_eq!(read("QuIt  "), Ok(Command::Quit));
        assert_eq!(read("NOOP what so ever"), Ok(Command::Noop));
        assert_eq!(read("EHLO [127.0.0.1]"), Ok(Command::Ehlo("[127.0.0.1]".into())));
        assert_eq!(read("BDAT 12 last"), Ok(Command::Bdat { bytes: 12, last: true }));
    }

    #[test]
    fn what_is_not_a_command_is_refused_by_kind() {
        for (line, code) in [
            ("", 500),
            ("HELLO", 500),
            ("EHLO", 501),
            ("EHLO two words", 501),
            ("DATA now", 501),
            ("EXPN list", 502),
            ("VRFY", 501),
            ("AUTH", 501),
            ("AUTH PLAIN a b", 501),
            ("BDAT", 501),
            ("BDAT -1", 501),
            ("BDAT +1", 501),
            ("BDAT 1 FIRST", 501),
            ("BDAT 99999999999999999999", 501),
            ("MAIL FROM:<a\0b@example.com>", 500),
        ] {
            assert_eq!(read(line), Err(code), "{line:?}");
        }
        assert!(parse(b"NOOP \xff", &Extensions::default()).is_err());
    }

    #[test]
    fn mail_takes_every_announced_parameter() {
        let (path, parameters) =
            sender("MAIL FROM:<news@example.com> SIZE=1234 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+2Bb");
        assert_eq!(path, "news@example.com");
        assert_eq!(parameters.size, Some(1234));
        assert!(parameters.eight_bit && parameters.utf8);
        assert_eq!(parameters.written, "SIZE=1234 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+2Bb");
        assert_eq!(sender("mail from:<>").0, "");
        assert_eq!(sender("MAIL FROM:<@relay.example,@b.example:me@example.com>").0, "me@example.com");
        assert_eq!(sender("MAIL FROM:<\"a>b c\"@example.com>").0, "\"a>b c\"@example.com");
        assert_eq!(sender("MAIL FROM:<花@例え.example> SMTPUTF8").0, "花@例え.example");
    }

    #[test]
    fn mail_refuses_what_it_should() {
        for (line, code) in [
            ("MAIL", 501),
            ("MAIL FROM: <a@example.com>", 501),
            ("MAIL FROM:a@example.com", 501),
            ("MAIL FROM:<a@example.com", 501),
            ("MAIL FROM:<a@example.com>SIZE=1", 501),
            ("MAIL FROM:<a@example.com> SIZE=big", 501),
            ("MAIL FROM:<a@example.com> SIZE=1 SIZE=2", 501),
            ("MAIL FROM:<a@example.com> BODY=BINARYMIME", 501),
            ("MAIL FROM:<a@example.com> RET=SOME", 501),
            ("MAIL FROM:<a@example.com> ENVID=a+2b", 501),
            ("MAIL FROM:<a@example.com> COLOUR=red", 555),
            ("MAIL FROM:<花@example.com>", 553),
            ("MAIL FROM:<nobody>", 553),
            ("MAIL FROM:<a b@example.com>", 553),
            ("MAIL FROM:<a@b@example.com>", 553),
            ("MAIL FROM:<a@example..com>", 553),
        ] {
            assert_eq!(read(line), Err(code), "{line:?}");
        }
        let long = format!("MAIL FROM:<{}@example.com>", "a".repeat(PATH_BYTES_MAX));
        assert_eq!(read(&long), Err(501));
    }

    #[test]
    fn rcpt_checks_notify_and_orcpt() {
        let written = "NOTIFY=FAILURE,DELAY ORCPT=rfc822;mia@example.com";
        assert_eq!(
            read(&format!("RCPT TO:<mia@example.com> {written}")),
            Ok(Command::Rcpt { path: "mia@example.com".into(), parameters: written.into() })
        );
        assert!(read("RCPT TO:<Postmaster>").is_ok());
        for (line, code) in [
            ("RCPT TO:<>", 553),
            ("RCPT TO:<mia>", 553),
            ("RCPT TO:<a@example.com> NOTIFY=NEVER,DELAY", 501),
            ("RCPT TO:<a@example.com> NOTIFY=DELAY,DELAY", 501),
            ("RCPT TO:<a@example.com> NOTIFY=", 501),
            ("RCPT TO:<a@example.com> NOTIFY=NEVER NOTIFY=NEVER", 501),
            ("RCPT TO:<a@example.com> ORCPT=mia@example.com", 501),
            ("RCPT TO:<a@example.com> SIZE=3", 555),
        ] {
            assert_eq!(read(line), Err(code), "{line:?}");
        }
    }

    #[test]
    fn parameters_of_extensions_not_announced_are_refused() {
        let none = Extensions::none();
        for line in [
            "MAIL FROM:<a@example.com> SIZE=1",
            "MAIL FROM:<a@example.com> BODY=7BIT",
            "MAIL FROM:<a@example.com> SMTPUTF8",
            "MAIL FROM:<a@example.com> RET=FULL",
            "RCPT TO:<a@example.com> NOTIFY=NEVER",
        ] {
            assert_eq!(parse(line.as_bytes(), &none).map_err(|r| r.code), Err(555), "{line}");
        }
    }
}
