//! `lvd model add`, from a file and from a server.

use crate::common::{output, run};
use crate::models::net::*;

/// Answers every request with these bytes, on a thread of its own.
fn serving(bytes: Vec<u8>) -> std::net::SocketAddr {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", bytes.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&bytes));
        }
    });
    address
}

#[test]
fn a_model_is_added_from_a_file_or_a_url_and_its_lines_run() {
    let project = Project::new(3, 255);
    let net = Net::product().gives("z", FLOAT, &[0, 16]);
    let url = format!("http://me:geheim@{}/some/Small%20one.onnx?sig=1", serving(net.bytes()));
    let folder = project.path("models");
    let add = |source: &str, more: &[&str]| {
        let out = output(&[&["model", "add", source, "--folder", &folder.to_string_lossy()][..], more].concat());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (out.status.code(), text(&out.stdout), text(&out.stderr))
    };
    let (code, block, said) = add(&url, &["--name", "m"]);
    assert!(code == Some(0) && said.contains("vectors of 16 numbers") && !said.contains("geheim"), "{said}");
    assert!(block.starts_with("[embedders.m]\nmodel = ") && block.contains("resize = 8\n"), "{block}");
    assert!(block.contains("sha256 = ") && !block.contains("geheim"), "{block}");
    // The printed lines are those of a file that runs.
    let lines = block.strip_prefix("[embedders.m]\n").expect("the table");
    run(&["run", "-q", &project.file(lines, "")]);
    assert_eq!(project.vectors().len(), 3);
    // It is not fetched twice; a file is the same.
    let file = folder.join("Small%20one.onnx");
    assert!(add(&url, &[]).2.contains("is there already"));
    let (_, again, _) = add(&file.to_string_lossy(), &[]);
    assert!(again.starts_with("[embedders.small_20one]\n"), "{again}");
    // What does not fit is said with its setting, and nothing is printed to paste.
    for (source, more, words) in [
        ("nowhere.onnx", &[][..], "is not there"),
        ("http://127.0.0.1/", &[], "names no file"),
        (&*file.to_string_lossy(), &["--preset", "sscd"], "set `resize = 8`"),
        (&*file.to_string_lossy(), &["--preset", "ssdc"], "presets are: sscd"),
    ] {
        let (code, block, said) = add(source, more);
        assert!(code == Some(2) && block.is_empty() && said.contains(words), "{code:?} {said}");
    }
}
