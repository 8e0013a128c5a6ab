//! Archives as crawlers write them, whole and damaged.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use super::*;
use crate::sources::Source;
use crate::sources::fixture::Done;

/// A record of WARC.
fn record(kind: &str, head: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("WARC/1.1\r\nWARC-Type: {kind}\r\nContent-Length: {length}\r\n{head}\r\n\r\n");
    [head.as_bytes(), body, b"\r\n\r\n"].concat()
}

fn response(url: &str, head: &str, body: &[u8]) -> Vec<u8> {
    let answer = [format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n").as_bytes(), body].concat();
    let of_record = format!("WARC-Target-URI: {url}\r\nContent-Type: application/http; msgtype=response");
    record("response", &of_record, &answer)
}

/// A page with one image.
fn page(name: &str) -> Vec<u8> {
    let html = format!("<title>{name}</title><img src={name}.jpg alt='of {name}'><p>end");
    response(&format!("http://a.example/{name}"), "Content-Type: text/html", html.as_bytes())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    out.write_all(bytes).expect("memory");
    out.finish().expect("memory")
}

/// The rows of archives as `url (caption) extra`, what was counted, and what was warned of.
struct Listed {
    rows: Vec<String>,
    counts: Vec<(&'static str, u64)>,
    warnings: Vec<String>,
}

fn list(name: &str, bytes: &[u8]) -> Done<Listed> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join(name);
    fs::write(&path, bytes)?;
    listed(&Source::Archives { files: vec![path] })
}

fn listed(source: &Source) -> Done<Listed> {
    let mut rows = Vec::new();
    let notes = source.list(&mut |row| {
        let (caption, extra) = (row.caption.unwrap_or_default(), row.extra.unwrap_or_default());
        rows.push(format!("{} ({caption}) {extra}", row.location));
        Ok(())
    })?;
    let checked = source.check()?;
    assert!(checked == rows.len() as u64 || checked == UNCOUNTED, "{checked}");
    Ok(Listed { rows, counts: notes.counts().collect(), warnings: notes.warnings().collect() })
}

/// The rows of [`page`]s.
fn of_pages(names: &[&str]) -> Vec<String> {
    let row = |name: &&str| format!("http://a.example/{name}.jpg (of {name}) {{\"page\":\"http://a.example/{name}\"}}");
    names.iter().map(row).collect()
}

#[test]
fn pages_give_their_pictures_with_text_page_and_licence() -> Done {
    let html = b"<base href=/d/><link rel=license href=https://creativecommons.org/licenses/by/4.0/>
        <img src=1.jpg alt=\"caf\xe9\"><picture><source srcset='2.webp 1x, 3.webp 2x'><img data-src=4.jpg alt=four></picture>
        <img src=1.jpg><img src=data:image/gif;base64,AA=>";
    let answer = response("<http://a.example/x/>", "content-type: Text/HTML; charset=iso-8859-1", html);
    let resource = record(
        "resource",
        "WARC-Target-URI: http://b.example/\r\nContent-Type: text/html",
        "<meta charset=utf-8><img src=ü.png>".as_bytes(),
    );
    let others = [
        record("warcinfo", "Content-Type: application/warc-fields", b"software: test"),
        record("request", "Content-Type: application/http; msgtype=request", b"GET / HTTP/1.1\r\n\r\n"),
        record(
            "response",
            "Content-Type: application/http",
            b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\n\r\n<img src=no>",
        ),
        response("http://a.example/p.png", "Content-Type: image/png", b"<img src=no>"),
        record("revisit", "WARC-Target-URI: http://a.example/", b""),
        record("metadata", "Content-Type: application/json", b"{\"a\": 1}"),
        record("response", "WARC-Target-URI: dns:a.example\r\nContent-Type: text/dns", b"a.example 1.2.3.4"),
    ];
    let all = [&answer[..], &others.concat(), &resource].concat();
    let found = list("a.warc", &all)?;
    let extra = "{\"page\":\"http://a.example/x/\",\"license\":\"https://creativecommons.org/licenses/by/4.0/\"}";
    let expect = [
        format!("http://a.example/d/1.jpg (café) {extra}"),
        format!("http://a.example/d/3.webp (four) {extra}"),
        format!("http://a.example/d/4.jpg (four) {extra}"),
        "http://b.example/%C3%BC.png () {\"page\":\"http://b.example/\"}".to_owned(),
    ];
    assert_eq!(found.rows, expect);
    let counts = [
        ("archive_failures", 1),
        ("archive_inline_images", 1),
        ("archive_no_pages", 2),
        ("archive_pages", 2),
        ("archive_records", 9),
        ("archive_revisits", 1),
    ];
    assert_eq!((found.counts, found.warnings), (counts.to_vec(), vec![]));
    Ok(())
}

#[test]
fn archives_are_read_however_they_are_packed() -> Done {
    let pages = ["a", "b", "c"].map(page);
    let expect = of_pages(&["a", "b", "c"]);
    let check = |name: &str, bytes: &[u8]| -> Done {
        let found = list(name, bytes)?;
        assert_eq!((found.rows, found.warnings), (expect.clone(), vec![]), "{name}");
        Ok(())
    };
    check("plain.warc", &pages.concat())?;
    check("members.warc.gz", &pages.iter().flat_map(|page| gzip(page)).collect::<Vec<u8>>())?;
    check("whole.warc.gz", &gzip(&pages.concat()))?;
    check("misnamed.warc", &gzip(&pages.concat()))?;
    let blocks: Vec<u8> = pages.concat().chunks(100).flat_map(gzip).collect();
    check("blocks.warc.gz", &blocks)?;
    check("zeros.warc.gz", &[gzip(&pages.concat()), vec![0; 1000]].concat())?;
    let frame = |page: &Vec<u8>| zstd::encode_all(&page[..], 3);
    check("frames.warc.zst", &pages.iter().map(frame).collect::<std::io::Result<Vec<_>>>()?.concat())?;
    let dictionary =
        b"WARC/1.1\r\nWARC-Type: response\r\nContent-Length: HTTP/1.1 200 OK <title></title><img src= alt=>".repeat(3);
    for packed in [dictionary.clone(), zstd::encode_all(&dictionary[..], 3)?] {
        let size = u32::try_from(packed.len())?.to_le_bytes();
        let mut file = [b"\x5d\x2a\x4d\x18", &size[..], &packed].concat();
        for page in &pages {
            let mut encoder = zstd::stream::write::Encoder::with_dictionary(file, 3, &dictionary)?;
            encoder.write_all(page)?;
            file = encoder.finish()?;
        }
        check("dictionary.warc.zst", &file)?;
    }
    Ok(())
}

#[test]
fn what_is_damaged_costs_itself_alone() -> Done {
    let pages = ["a", "b", "c"].map(page);
    let gz = pages.each_ref().map(|page| gzip(page));
    let check = |name: &str, parts: &[&[u8]], rows: &[&str], warning: &str| -> Done {
        let found = list(name, &parts.concat())?;
        assert_eq!(found.rows, of_pages(rows), "{name}");
        assert!(found.warnings.iter().any(|text| text.starts_with(warning)), "{name}: {:?}", found.warnings);
        assert_eq!(found.warnings.len(), 1, "{name}: {:?}", found.warnings);
        Ok(())
    };
    let [a, b, c] = &pages;
    let no_record = "1 places in archives begin no record";
    check("cut.warc", &[a, &b[..80]], &["a"], "1 archives are cut off")?;
    // What is there of a page counts.
    check("late.warc", &[a, &b[..b.len() - 8]], &["a", "b"], "1 archives are cut off")?;
    check("noise.warc", &[a, b"what is this\nand this\n", c], &["a", "c"], no_record)?;
    let too_short = String::from_utf8(b.clone())?.replace("alt='of b'>", "alt='of b'>  more\n");
    check("longer.warc", &[a, too_short.as_bytes(), c], &["a", "b", "c"], no_record)?;
    let nameless = String::from_utf8(b.clone())?.replace("Content-Length: ", "Content-Length: x");
    check("length.warc", &[a, nameless.as_bytes(), c], &["a", "c"], "1 records do not say how long")?;
    let mut broken = gz[1].clone();
    let middle = broken.len() / 2;
    broken[middle..middle + 8].fill(0xff);
    check("broken.warc.gz", &[&gz[0], &broken, &gz[2]], &["a", "c"], "1 places in archives are damaged")?;
    check("cut.warc.gz", &[&gz[0], &gz[1][..gz[1].len() / 2]], &["a"], "1 archives are cut off")?;
    check("noise.warc.gz", &[&gz[0], b"noise", &gz[2]], &["a", "c"], "1 places between compressed")?;
    let long = gzip(&String::from_utf8(b.clone())?.replace("Content-Length: ", "Content-Length: 9").into_bytes());
    check("claims.warc.gz", &[&gz[0], &long, &gz[2]], &["a", "b", "c"], "1 records are shorter")?;
    let none = list("none.warc", b"\xff\xd8\xff\xe0 a picture")?;
    assert_eq!((none.rows.len(), none.warnings.len()), (0, 2), "{:?}", none.warnings);
    assert!(none.warnings[0].starts_with("1 archives have no record"), "{:?}", none.warnings);
    Ok(())
}

#[test]
fn old_archives_are_read() -> Done {
    let html = "HTTP/1.0 200 OK\nContent-Type: text/html\n\n<img src=1.jpg alt=one>";
    let version = "1 0 Test\nURL IP-address Archive-date Content-type Archive-length\n\n";
    let arc = format!(
        "filedesc://a.arc 0.0.0.0 20140216050221 text/plain {}\n{version}http://a.example/x?a b=c 1.2.3.4 20140216050221 text/html {}\n{html}\nhttp://a.example/ 1.2.3.4 20140216050222 text/html -1\n\nhttp://b.example/ 1.2.3.4 20140216050223 text/html {}\n{html}\n",
        version.len(),
        html.len(),
        html.len()
    );
    for bytes in [arc.clone().into_bytes(), gzip(arc.as_bytes())] {
        let found = list("a.arc", &bytes)?;
        let expect = [
            "http://a.example/1.jpg (one) {\"page\":\"http://a.example/x?a%20b=c\"}",
            "http://b.example/1.jpg (one) {\"page\":\"http://b.example/\"}",
        ];
        assert_eq!(found.rows, expect);
        assert_eq!(found.warnings.len(), 1, "{:?}", found.warnings);
        assert!(found.warnings[0].starts_with("1 records do not say how long"));
    }
    Ok(())
}

#[test]
fn what_common_crawl_read_of_pages_is_a_list_of_pictures() -> Done {
    let json = r#"{"Envelope":{"WARC-Header-Metadata":{"WARC-Target-URI":"http://a.example/x"},"Payload-Metadata":
        {"HTTP-Response-Metadata":{"Response-Message":{"Status":"200"},"HTML-Metadata":{"Head":{},
        "Links":[{"path":"IMG@/src","url":"1.jpg","alt":"half \ud83d"},{"path":"A@/href","url":"http://creativecommons.org/licenses/by/2.0/"}]}}}}}"#;
    let wat = [
        record("metadata", "Content-Type: application/json", json.as_bytes()),
        record("metadata", "Content-Type: application/json", b"{\"Envelope\": broken"),
    ];
    let found = list("a.warc.wat.gz", &wat.iter().flat_map(|record| gzip(record)).collect::<Vec<u8>>())?;
    let extra = "{\"page\":\"http://a.example/x\",\"license\":\"http://creativecommons.org/licenses/by/2.0/\"}";
    assert_eq!(found.rows, [format!("http://a.example/1.jpg (half \u{fffd}) {extra}")]);
    assert_eq!(found.warnings.len(), 1, "{:?}", found.warnings);
    assert!(found.warnings[0].starts_with("1 records of pages cannot be read"), "{:?}", found.warnings);
    Ok(())
}

#[test]
fn long_pages_are_read_as_far_as_they_are_kept() -> Done {
    let html = [&b"<img src=first.jpg>"[..], &b"text ".repeat(MAX_BODY / 5 + 1000), b"<img src=last.jpg>"].concat();
    let plain = response("http://a.example/", "Content-Type: text/html", &html);
    let packed = response("http://a.example/", "Content-Type: text/html\r\nContent-Encoding: gzip", &gzip(&html));
    for (bytes, warning) in
        [(plain, "1 pages are longer than 16 MiB, and"), (packed, "1 pages are longer than 16 MiB when unpacked")]
    {
        let found = list("a.warc", &[bytes, page("b")].concat())?;
        assert_eq!(found.rows.len(), 2);
        assert!(found.rows[0].starts_with("http://a.example/first.jpg") && found.rows[1..] == of_pages(&["b"]));
        assert!(found.warnings.len() == 1 && found.warnings[0].starts_with(warning), "{:?}", found.warnings);
    }
    let image = response("http://a.example/", "Content-Type: image/png", &vec![0; MAX_BODY + 1]);
    assert_eq!(list("a.warc", &image)?.warnings, [""; 0]);
    Ok(())
}

#[test]
fn a_folder_of_archives_is_a_list_in_the_order_of_names() -> Done {
    let dir = tempfile::tempdir()?;
    fs::write(dir.path().join("2.warc.gz"), gzip(&page("b")))?;
    fs::write(dir.path().join("1.WARC"), page("a"))?;
    fs::write(dir.path().join("3.warc.wat.gz"), gzip(&page("c")))?;
    fs::write(dir.path().join("x.gz"), gzip(&page("no")))?;
    let found = listed(&Source::Archives { files: vec![dir.path().into()] })?;
    assert_eq!(found.rows, of_pages(&["a", "b", "c"]));
    let pattern = Source::Archives { files: vec![dir.path().join("*.warc.gz")] };
    assert_eq!(listed(&pattern)?.rows, of_pages(&["b"]));
    let before = pattern.fingerprint()?;
    fs::write(dir.path().join("2.warc.gz"), gzip(&page("d")))?;
    assert_ne!(pattern.fingerprint()?, before);
    assert!(Source::Archives { files: vec![PathBuf::from("/no/such.warc")] }.check().is_err());
    Ok(())
}
