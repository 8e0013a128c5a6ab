//! Private addresses, however they are written: closed by default, and open where the user says so.

use super::server::{Server, respond};
use super::*;

/// Ways to write this machine, and whether it answers under each where the door is open.
const HERE: &[(&str, bool)] = &[
    ("127.0.0.1", true),
    ("2130706433", true),
    ("0x7f000001", true),
    ("0X7F.1", true),
    ("017700000001", true),
    ("0177.0.0.01", true),
    ("127.1", true),
    ("127.0.1", true),
    ("127.0.0.1.", true),
    ("127.77.66.55", false),
    ("１２７.0.0.1", true),
    ("127。0。0。1", true),
    ("%31%32%37.0.0.1", true),
    ("me:pass@127.0.0.1", true),
    ("0", true),
    ("0.0.0.0", true),
    ("localhost", true),
    ("LocalHost", true),
    ("[::1]", false),
    ("[0:0:0:0:0:0:0:1]", false),
    ("[::]", false),
    ("[::ffff:127.0.0.1]", false),
    ("[::ffff:7f00:1]", false),
    ("[::127.0.0.1]", false),
    ("[64:ff9b::7f00:1]", false),
    ("[2002:7f00:1::]", false),
];

#[test]
fn every_way_to_write_this_machine_is_closed() -> Done {
    let server = Server::start(|stream, _, _| respond(stream, "200 OK", "", b"inside"))?;
    let rows: Vec<_> = HERE.iter().map(|(host, _)| row(server.url("/").replace("127.0.0.1", host))).collect();
    let closed = fetcher(FetchLimits { private_addresses: false, ..limits() })?;
    for (row, answer) in rows.iter().zip(answers(&closed, &urls(), &rows)?) {
        let dropped = answer.expect_err(&row.location);
        assert_eq!(dropped.reason, Reason::PrivateAddress, "{}: {}", row.location, dropped.detail);
        assert!(!dropped.detail.contains("pass"), "{}", dropped.detail);
    }
    assert_eq!(server.asked("/"), 0);
    // Each of these would have been asked.
    for (row, (_, answers_there)) in rows.iter().zip(HERE) {
        if *answers_there {
            let open = outcomes(answers(&fetcher(limits())?, &urls(), std::slice::from_ref(row))?);
            assert_eq!(open, [Ok("inside".to_owned())], "{}", row.location);
        }
    }
    Ok(())
}

#[test]
fn addresses_of_other_private_networks_are_closed() -> Done {
    let hosts = [
        "169.254.169.254",
        "2852039166",
        "0251.0376.0251.0376",
        "0xa9.254.43518",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::169.254.169.254]",
        "10.0.0.1",
        "167772161",
        "012.1",
        "[::ffff:10.0.0.1]",
        "100.64.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "198.18.0.1",
        "192.0.2.1",
        "224.0.0.1",
        "255.255.255.255",
        "4294967295",
        "[fc00::1]",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "[ff02::1]",
        "[2001:db8::1]",
    ];
    let rows = hosts.map(|host| row(format!("http://{host}/latest/meta-data")));
    let closed = fetcher(FetchLimits { private_addresses: false, retries: 0, timeout_s: 1.0, ..limits() })?;
    let outcomes = outcomes(answers(&closed, &urls(), &rows)?);
    for (host, outcome) in hosts.iter().zip(outcomes) {
        assert_eq!(outcome, Err(Reason::PrivateAddress), "{host}");
    }
    Ok(())
}

#[test]
fn what_a_message_holds_is_no_secret() -> Done {
    let server = Server::start(|stream, path, _| match path {
        "/out" => respond(stream, "302 Found", "Location: ftp://me:hidden@b/?sig=hidden\r\n", b""),
        "/odd" => respond(stream, "302 Found", "Location: http://me:hidden@[/?sig=hidden\r\n", b""),
        _ => Ok(()),
    })?;
    let at = |path: &str| row(server.url(path).replace("127", "me:hidden@127"));
    let rows = [
        at("/silent?sig=hidden"),
        at("/out"),
        at("/odd"),
        row("http://me:hidden@nobody.invalid/?token=hidden"),
        row("ftp://me:hidden@b/"),
        row("http://me:hid/den@b/"),
        row("http://me:hidden@a:99999/"),
    ];
    for answer in answers(&fetcher(limits())?, &urls(), &rows)? {
        let detail = answer.expect_err("nothing answers").detail;
        assert!(!detail.contains("hid"), "{detail}");
    }
    Ok(())
}
