//! What a list of URLs written by a stranger can reach, and what is kept of one with passwords: the
//! real program, and an HTTP server on this machine that is its proxy, so that public names can be
//! asked for without a network.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;
use std::sync::{Arc, Mutex, PoisonError};

use crate::common::{cell, files, lvd, table};

/// What was asked of a server: the request lines' targets.
pub type Asked = Arc<Mutex<Vec<String>>>;

/// Answers `.../to/WHERE` with a redirect to WHERE, and everything else with a picture; its rules
/// keep crawlers out of `/closed/`, and what lies in `/noai/` is not for training.
pub fn serve() -> (u16, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let asked = Asked::default();
    let seen = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let seen = seen.clone();
            // A client that leaves has nobody to tell.
            std::thread::spawn(move || drop(answer(stream, &seen)));
        }
    });
    (port, asked)
}

fn answer(mut stream: TcpStream, asked: &Asked) -> std::io::Result<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
    if target.ends_with("/robots.txt") {
        let rules = "User-agent: *\nDisallow: /closed/\n";
        return write!(
            stream,
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{rules}",
            rules.len()
        );
    }
    asked.lock().unwrap_or_else(PoisonError::into_inner).push(target.clone());
    if let Some((_, to)) = target.split_once("/to/") {
        return write!(
            stream,
            "HTTP/1.1 302 Found\r\nConnection: close\r\nContent-Length: 0\r\nLocation: {to}\r\n\r\n"
        );
    }
    let mut picture = std::io::Cursor::new(Vec::new());
    // Another target, another picture.
    let shade = |x: u32| target.as_bytes()[usize::try_from(x).unwrap_or(0) % target.len()];
    image::RgbImage::from_fn(64, 64, |x, y| image::Rgb([shade(x), shade(y), 90]))
        .write_to(&mut picture, image::ImageFormat::Png)
        .map_err(std::io::Error::other)?;
    let picture = picture.into_inner();
    let says = if target.contains("/noai/") { "X-Robots-Tag: noai\r\n" } else { "" };
    write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n{says}Content-Length: {}\r\n\r\n", picture.len())?;
    stream.write_all(&picture)
}

/// What was asked so far.
pub fn asked(asked: &Asked) -> Vec<String> {
    asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Ingests a list of URLs with these settings of `[steps.crawl.http]` and variables of the
/// environment.
fn ingest(folder: &Path, list: &[String], http: &str, environment: &[(&str, &str)], more: &[&str]) -> Output {
    let file = folder.join("list.txt");
    // Written once: the time of its last change is part of what a source is.
    if !file.exists() {
        std::fs::write(file, list.join("\n")).expect("a list");
    }
    let pipeline = format!(
        "work = \"work\"\n[sources.web]\nurls = [\"list.txt\"]\n[steps.crawl]\nstage = \"ingest\"\n\
         max_failed_share = 1.0\n[steps.crawl.http]\nretries = 0\n{http}\n"
    );
    std::fs::write(folder.join("crawl.toml"), pipeline).expect("a pipeline");
    run(folder, environment, more)
}

/// `lvd run crawl.toml`, with no proxies but those given.
fn run(folder: &Path, environment: &[(&str, &str)], more: &[&str]) -> Output {
    let mut command = lvd();
    for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    let command = command.args(["run", "crawl.toml"]).args(more).current_dir(folder);
    command.envs(environment.iter().copied()).output().expect("the program starts")
}

/// URLs that came, and URLs that failed with their reasons.
fn outcomes(folder: &Path) -> (Vec<String>, Vec<(String, String)>) {
    let step = folder.join("work/crawl");
    let text = |row: &Vec<(String, String)>, column: &str| cell(row, column).to_owned();
    let failed = table(&step.join("failed"));
    (
        table(&step).iter().map(|row| text(row, "url")).collect(),
        failed.iter().map(|row| (text(row, "url"), text(row, "reason"))).collect(),
    )
}

fn messages(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn what_owners_do_not_want_taken_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let (port, seen) = serve();
    let list: Vec<String> = ["open/1.png", "closed/2.png", "noai/3.png", "to//closed/4.png", "open/five.png"]
        .map(|path| format!("http://127.0.0.1:{port}/{path}"))
        .into();
    let open = "private_addresses = true";
    let said = messages(&ingest(folder.path(), &list, open, &[], &[]));
    let (came, failed) = outcomes(folder.path());
    assert_eq!(came, [list[0].clone(), list[4].clone()], "{said}");
    assert!(failed.len() == 3 && failed.iter().all(|(_, reason)| reason == "opted_out"), "{failed:?}");
    assert!(asked(&seen).iter().all(|target| !target.starts_with("/closed")), "{:?}", asked(&seen));
    // Counted by signal; and the report adds up.
    let text = std::fs::read(folder.path().join("work/crawl/summary.json")).expect("a summary");
    let summary: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    assert_eq!(summary["counters"]["opted_out/robots_txt"], 2);
    assert_eq!(summary["counters"]["opted_out/noai"], 1);
    assert_eq!((&summary["rows_out"], &summary["drops"]["opted_out"]), (&2.into(), &3.into()));

    // Who does not honour it gets all, once it is clear that this is another data set.
    let deaf = format!("{open}\nopt_outs = []");
    let said = messages(&ingest(folder.path(), &list, &deaf, &[], &[]));
    assert!(said.contains("--replace"), "{said}");
    ingest(folder.path(), &list, &deaf, &[], &["--replace"]);
    assert_eq!(outcomes(folder.path()).0.len(), 5);
    let said = messages(&ingest(folder.path(), &list, "opt_outs = [\"nothing\"]", &[], &[]));
    assert!(said.contains("robots_txt") && said.contains("noimageai"), "{said}");
}

#[test]
fn a_redirect_to_a_private_address_is_not_followed() {
    let folder = tempfile::tempdir().expect("a folder");
    let (port, seen) = serve();
    let inside = [
        format!("http://127.0.0.1:{port}/secret"),
        format!("http://2130706433:{port}/secret"),
        format!("http://[::ffff:127.0.0.1]:{port}/secret"),
        "http://169.254.169.254/latest/meta-data".into(),
        "http://0xa9fea9fe/".into(),
        "http://[::ffff:10.0.0.1]/".into(),
        "//0.0.0.0/".into(),
        // By way of another public name.
        "http://b.example/to/http://10.1/".into(),
    ];
    let mut list: Vec<_> = inside.iter().map(|to| format!("http://a.example/to/{to}")).collect();
    list.push("http://a.example/to/http://b.example/picture".into());
    let proxy = format!("http://127.0.0.1:{port}");
    let output = ingest(folder.path(), &list, "", &[("http_proxy", &proxy)], &[]);
    assert!(output.status.success(), "{}", messages(&output));
    let (came, failed) = outcomes(folder.path());
    assert_eq!(came, ["http://a.example/to/http://b.example/picture"]);
    let expected: Vec<_> = list[..inside.len()].iter().map(|url| (url.clone(), "private_address".to_owned())).collect();
    assert_eq!(failed, expected);
    // The proxy was asked for public names only.
    assert!(
        asked(&seen)
            .iter()
            .all(|target| target.starts_with("http://a.example/") || target.starts_with("http://b.example/"))
    );
    let said = messages(&output);
    assert!(said.contains("`private_addresses = true` under [steps.crawl.http]"), "{said}");
    assert!(said.contains("private_address"), "{said}");
}

#[test]
fn a_name_that_leads_inside_is_not_asked_and_a_proxy_by_name_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let ((port, seen), (proxy_port, proxied)) = (serve(), serve());
    let list = [format!("http://localhost:{port}/secret"), "http://a.example/picture".into()];
    let proxy = format!("localhost:{proxy_port}");
    // Straight to the first, which is named as the proxy is; to the second by the proxy.
    let output = ingest(folder.path(), &list, "", &[("http_proxy", &proxy), ("no_proxy", "localhost")], &[]);
    assert!(output.status.success(), "{}", messages(&output));
    let (came, failed) = outcomes(folder.path());
    assert_eq!(came, ["http://a.example/picture"]);
    assert_eq!(failed, [(list[0].clone(), "private_address".to_owned())]);
    assert_eq!((asked(&seen), asked(&proxied)), (vec![], vec!["http://a.example/picture".to_owned()]));
}

#[test]
fn by_default_this_machine_is_closed_and_a_setting_opens_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (port, seen) = serve();
    let list = [format!("http://127.0.0.1:{port}/1"), format!("http://localhost:{port}/22")];
    let output = ingest(folder.path(), &list, "", &[], &[]);
    assert_eq!(outcomes(folder.path()).1.len(), 2, "{}", messages(&output));
    assert_eq!(asked(&seen), Vec::<String>::new());
    // As every setting that decides what is stored: not by surprise.
    let output = ingest(folder.path(), &list, "private_addresses = true", &[], &[]);
    assert!(!output.status.success() && messages(&output).contains("--replace"), "{}", messages(&output));
    let output = ingest(folder.path(), &list, "private_addresses = true", &[], &["--replace"]);
    assert!(output.status.success(), "{}", messages(&output));
    assert_eq!(outcomes(folder.path()), (list.to_vec(), vec![]));
}

#[test]
fn passwords_and_signatures_stay_in_the_list_and_where_fetching_needs_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let (port, seen) = serve();
    let query = "X-Amz-Expires=60&X-Amz-Signature=hidden1&w=3";
    let list = [
        format!("http://me:hidden2@127.0.0.1:{port}/picture?{query}"),
        format!("http://127.0.0.1:{port}/to/http://10.0.0.1:99999/?token=hidden3"),
        format!("http://127.0.0.1:{port}/to/ftp://me:hidden4@b/?sig=hidden5"),
        "http://me:hidden6@127.0.0.1:1/gone?key=hidden7".to_owned(),
        "http://me:hidden8@127.0.0.1:999999/".to_owned(),
    ];
    let output = ingest(folder.path(), &list, "private_addresses = true", &[], &[]);
    assert!(output.status.success(), "{}", messages(&output));
    // Asked with them, stored without.
    assert!(asked(&seen).contains(&format!("/picture?{query}")), "{:?}", asked(&seen));
    let (came, failed) = outcomes(folder.path());
    assert_eq!(came, [format!("http://127.0.0.1:{port}/picture?X-Amz-Expires=60&X-Amz-Signature=***&w=3")]);
    assert_eq!(failed.len(), 4);
    assert!(!messages(&output).contains("hidden"), "{}", messages(&output));
    let listed = folder.path().join("work/crawl/listed");
    for path in files(&folder.path().join("work")) {
        let holds = if path.extension().is_some_and(|ending| ending == "parquet") {
            format!("{:?}", crate::common::rows(&path)).contains("hidden")
        } else {
            String::from_utf8_lossy(&std::fs::read(&path).expect("it reads")).contains("hidden")
        };
        assert_eq!(holds, path.starts_with(&listed), "{}", path.display());
        if holds {
            let mode = path.metadata().expect("it is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", path.display());
        }
    }
}

#[test]
fn a_models_url_does_not_lead_from_outside_inside() {
    let folder = tempfile::tempdir().expect("a folder");
    let ((port, seen), (proxy_port, _)) = (serve(), serve());
    std::fs::create_dir(folder.path().join("pictures")).expect("a folder");
    let picture = image::RgbImage::from_pixel(64, 64, image::Rgb([1, 2, 3]));
    picture.save(folder.path().join("pictures/1.png")).expect("a picture");
    let pipeline = |url: &str| {
        let text = format!(
            "work = \"work\"\n[sources.own]\nfolder = \"pictures\"\n[embedders.e]\nresize = 32\nurl = \"{url}\"\nsha256 = \"{}\"\n\
             [steps.ingest]\n[steps.embed]\n",
            "0".repeat(64)
        );
        std::fs::write(folder.path().join("crawl.toml"), text).expect("a pipeline");
    };
    let proxy = format!("http://127.0.0.1:{proxy_port}");
    pipeline(&format!("http://a.example/to/http://127.0.0.1:{port}/inside"));
    let output = run(folder.path(), &[("http_proxy", &proxy), ("no_proxy", "127.0.0.1")], &[]);
    assert!(messages(&output).contains("127.0.0.1 is a private address"), "{}", messages(&output));
    assert_eq!(asked(&seen), Vec::<String>::new());
    // The user's own server may be inside, and its redirects.
    pipeline(&format!("http://127.0.0.1:{port}/to/http://localhost:{port}/inside"));
    let output = run(folder.path(), &[], &[]);
    assert!(messages(&output).contains("SHA-256 is"), "{}", messages(&output));
    assert_eq!(asked(&seen).last().map(String::as_str), Some("/inside"));
}
