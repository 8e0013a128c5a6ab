//! URLs without what must stay secret: user, password, and the values of signatures and keys in the
//! query.
//!
//! What is shown, logged or stored goes through [`redacted`]; a request is made with the URL as it
//! was given. A secret in the path cannot be told from a name and stays.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use reqwest::Url;

use crate::sources::location::unescape;
use lvd_base::error::{Error, Result};

/// What stands in the place of a secret.
const HIDDEN: &str = "***";

/// A parameter is secret if the letters and digits of its name, in lower case, hold one of these.
///
/// `se`, `sp` and `X-Amz-Expires` say how long a signature holds: they are no secret and stay, for
/// they say why it fails.
const SECRET_PARTS: &[&str] = &[
    "signature",
    "credential",
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "apikey",
    "accesskey",
    "authkey",
    "authorization",
    "keypairid",
    "privatekey",
    "sharedkey",
    "sessionid",
    "googleaccessid",
];

/// ... or is one of these.
const SECRET_NAMES: &[&str] =
    &["sig", "sign", "key", "pass", "pw", "pwd", "auth", "policy", "hmac", "hdnea", "hdnts", "jwt", "sid"];

/// The variables by which a bucket is opened; a server that refuses them repeats them in its
/// answer.
const BUCKET_KEYS: &[&str] = &["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];

/// The most characters of a URL that a message shows.
const SHOWN_CHARS: usize = 300;

/// `url` without user and password, and with `***` for each secret value in its query and fragment.
///
/// All else stays as it is, to the byte, so that a URL without secrets is itself. What is no URL is
/// treated as far as it looks like one.
#[must_use]
pub fn redacted(url: &str) -> String {
    // Most URLs of most lists, which need no parser.
    if !url.contains(['@', '?', '#']) {
        return url.to_owned();
    }
    let text = without_inner_passwords(&parameters_hidden(&without_userinfo(url), true));
    // A parser sees through tabs and other oddities where a search in the text does not.
    match Url::parse(&text) {
        Ok(mut parsed) if !parsed.username().is_empty() || parsed.password().is_some() => {
            let cleared = parsed.set_username("").and_then(|()| parsed.set_password(None));
            if cleared.is_ok() { parsed.into() } else { HIDDEN.into() }
        }
        _ => text,
    }
}

/// [`redacted`], and cut where it is too long for a message.
#[must_use]
pub fn shown(url: &str) -> String {
    let text = redacted(url);
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}... ({} bytes)", &text[..end], text.len()),
        None => text,
    }
}

/// Lets nobody but its owner read a file that is about to hold secrets.
pub fn owner_only(path: &Path) -> Result<()> {
    fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(Error::io(path))
}

/// `text` with `***` for each value of a variable of the environment that is a key to a bucket.
#[must_use]
pub fn without_keys(text: &str) -> String {
    without(text, BUCKET_KEYS.iter().filter_map(|name| std::env::var(name).ok()))
}

/// `text` with `***` for each of these, but for those too short to be secret.
fn without(text: &str, secrets: impl Iterator<Item = String>) -> String {
    secrets.filter(|secret| secret.len() >= 4).fold(text.to_owned(), |text, secret| text.replace(&secret, HIDDEN))
}

/// The text without `user:password@`.
fn without_userinfo(url: &str) -> String {
    let start = authority_start(url);
    let rest = &url[start..];
    // Where a parser finds no host, a `/` or `?` may be part of a password that is not encoded.
    let end = if Url::parse(url).is_ok() { rest.find(['/', '\\', '?', '#']) } else { None };
    let authority = &rest[..end.unwrap_or(rest.len())];
    match authority.rfind('@') {
        // Without slashes before it, only what has a password is taken for a user.
        Some(at) if start > 0 || authority[..at].contains(':') => format!("{}{}", &url[..start], &rest[at + 1..]),
        _ => url.to_owned(),
    }
}

/// The text without `user:password@` of URLs in its path, as archives and image proxies have them.
fn without_inner_passwords(url: &str) -> String {
    let (mut text, mut rest) = (String::with_capacity(url.len()), url);
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + "://".len());
        let authority = &after[..after.find(['/', '\\', '?', '#', '&']).unwrap_or(after.len())];
        let user = authority.rfind('@').filter(|&at| authority[..at].contains(':'));
        text.push_str(before);
        rest = &after[user.map_or(0, |at| at + 1)..];
    }
    text + rest
}

/// Where the host or the user begins: after the scheme and any number of slashes, either way round,
/// as browsers read it.
fn authority_start(url: &str) -> usize {
    let after_slashes = |at: usize| url.len() - url[at..].trim_start_matches(['/', '\\']).len();
    let is_scheme = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    let Some((scheme, _)) = url.split_once(':').filter(|(scheme, _)| is_scheme(scheme)) else {
        return after_slashes(0);
    };
    let (colon, end) = (scheme.len() + 1, after_slashes(scheme.len() + 1));
    let web = ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    // `user:password@host` has no scheme.
    if end > colon || web { end } else { 0 }
}

/// The text with `***` for the values of secret parameters; `nested` URLs among the values are
/// looked into.
fn parameters_hidden(url: &str, nested: bool) -> String {
    let Some(start) = url.find(['?', '#']) else { return url.to_owned() };
    let pieces = url[start..].split_inclusive(['&', '#']).map(|piece| {
        let (piece, end) = match piece.strip_suffix(['&', '#']) {
            Some(inner) => (inner, &piece[inner.len()..]),
            None => (piece, ""),
        };
        hidden(piece, nested) + end
    });
    url[..start].to_owned() + &pieces.collect::<String>()
}

/// `name=value`, or `name=***`; of several after each other (`a=1;b=2`), all from the first secret
/// one on.
fn hidden(piece: &str, nested: bool) -> String {
    let mut name_at = 0;
    for (at, separator) in piece.match_indices(['?', ';', '=']) {
        if separator == "=" && is_secret(&piece[name_at..at]) {
            return format!("{}={HIDDEN}", &piece[..at]);
        }
        if separator == "=" && nested && holds_secret(&piece[at + 1..]) {
            return format!("{}={HIDDEN}", &piece[..at]);
        }
        if separator != "=" {
            name_at = at + 1;
        }
    }
    piece.to_owned()
}

fn is_secret(name: &str) -> bool {
    let name: String = plain(name).to_lowercase().chars().filter(|c| c.is_alphanumeric()).collect();
    SECRET_NAMES.contains(&name.as_str()) || SECRET_PARTS.iter().any(|part| name.contains(part))
}

/// Whether a value is itself a URL with a secret.
fn holds_secret(value: &str) -> bool {
    let value = plain(value);
    value.contains(":/") && parameters_hidden(&without_userinfo(&value), false) != value
}

/// Text without its percent-encoding.
fn plain(text: &str) -> String {
    unescape(text).map_or_else(|| text.to_owned(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_without_secrets_is_itself_to_the_byte() {
        for url in [
            "",
            "no url",
            "http://a/1",
            "HTTP://A.example:80/%7Ex/../y?width=100&&b;c=%zz&=#Part 2",
            "https://a/@b:c?q=x@y&monkey=1&design=2&turkey=3&assign=4&keyword=z",
            "http://[::1]:8080/a?se=2030-01-01&sp=r&X-Amz-Expires=600",
            "https://a/?u=http://b/c%3Fd=e",
        ] {
            assert_eq!(redacted(url), url);
        }
    }

    #[test]
    fn user_and_password_go_however_they_are_written() {
        for (url, expect) in [
            ("http://me:pass@a/x", "http://a/x"),
            ("http://me@a/x", "http://a/x"),
            ("https://:pass@a:8080/x?y#z", "https://a:8080/x?y#z"),
            ("http://m@e:p@ss@a/x", "http://a/x"),
            ("http:/\\/me:pass@a\\x", "http:/\\/a\\x"),
            ("HTTP:me:pass@a/x", "HTTP:a/x"),
            ("ftp://me:pass@a/x", "ftp://a/x"),
            ("s3://me:pass@bucket", "s3://bucket"),
            ("//me:pass@a/x", "//a/x"),
            ("me:pass@a/x", "a/x"),
            ("ht\ttp:/\n/me:pa\tss@a/x", "http://a/x"),
            ("http://me:pass@:99999/", "http://:99999/"),
            ("http://me:pa/s?s@a/x", "http://a/x"),
            ("https://a/web/http://me:pass@b/c@d:e", "https://a/web/http://b/c@d:e"),
        ] {
            assert_eq!(redacted(url), expect, "{url:?}");
        }
    }

    #[test]
    fn signatures_and_keys_go_and_their_names_stay() {
        for name in [
            "X-Amz-Signature",
            "x-amz-credential",
            "X-Amz-Security-Token",
            "Signature",
            "sig",
            "token",
            "access_token",
            "refresh_token",
            "key",
            "api_key",
            "apikey",
            "X-API-Key",
            "password",
            "passwd",
            "pwd",
            "X-Goog-Signature",
            "X-Goog-Credential",
            "GoogleAccessId",
            "AWSAccessKeyId",
            "Policy",
            "Key-Pair-Id",
            "client_secret",
            "auth",
            "X%2DAmz%2DSignature",
            "oauth_signature",
            "SIG",
            "jwt",
        ] {
            for (before, after) in [("?", ""), ("?w=1&", "&h=2#x"), ("?w=1;", ""), ("#", ""), ("?a=1?", "&b=3")] {
                let url = format!("https://a/b{before}{name}=s3cr/t+1%3D=;x{after}");
                assert_eq!(redacted(&url), format!("https://a/b{before}{name}=***{after}"), "{url}");
            }
        }
        // Azure's shared access signature: until when and for what it holds may be seen.
        let sas = "https://x.blob.core.windows.net/c/i.jpg?sv=2022-11-02&se=2030-01-01&sr=b&sp=r&sig=abc%2Bdef%3D";
        assert_eq!(redacted(sas), sas.replace("abc%2Bdef%3D", "***"));
    }

    #[test]
    fn a_url_in_a_parameter_is_looked_into() {
        for inner in
            ["http://me:pw@b/c", "http%3A%2F%2Fme%3Apw%40b%2Fc", "https://b/c?sig=pw", "https%3A%2F%2Fb%3Fsig%3Dpw"]
        {
            assert_eq!(redacted(&format!("https://a/?w=1&url={inner}&h=2")), "https://a/?w=1&url=***&h=2");
        }
    }

    #[test]
    fn what_a_server_repeats_of_a_key_is_hidden() {
        let answer = "<Error><AWSAccessKeyId>AKIA1234</AWSAccessKeyId><Sign>AKIA1234/x</Sign></Error>";
        let hidden = without(answer, ["AKIA1234".to_owned(), "E".to_owned(), String::new()].into_iter());
        assert_eq!(hidden, answer.replace("AKIA1234", "***"));
    }

    #[test]
    fn a_message_shows_the_beginning_of_a_long_url() {
        let url = format!("http://me:pass@a/{}", "ü".repeat(400));
        let got = shown(&url);
        assert!(got.starts_with("http://a/üü") && got.ends_with("ü... (809 bytes)"), "{got}");
        assert!(got.chars().count() < 330);
        assert_eq!(shown("http://a/1"), "http://a/1");
    }
}
