//! The pages in a browser: headless Chromium, told what to do by `WebDriver`.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::{STEPS, work};
use crate::common::{Lack, skip};

/// Time for one request; loading a page of 5 MB takes a second.
const PATIENCE: Duration = Duration::from_mins(2);

/// A browser with one page; it ends when this is dropped.
struct Browser {
    driver: Child,
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
    session: String,
    _profile: tempfile::TempDir,
}

/// A program on the path.
fn program(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .flat_map(|place| names.iter().map(move |name| place.join(name)))
        .find(|path| path.exists())
}

impl Browser {
    /// Starts one, if there is one.
    fn start() -> Option<Self> {
        let (driver, chromium) =
            (program(&["chromedriver"]), program(&["chromium", "chromium-browser", "google-chrome"]));
        let Some((driver, chromium)) = driver.zip(chromium) else {
            skip(Lack::Browser, "no Chromium and chromedriver (./setup.sh --tests)");
            return None;
        };
        let mut driver = Command::new(driver)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let lines = BufReader::new(driver.stdout.take().expect("its output")).lines();
        let port = lines.map_while(Result::ok).find_map(|line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            port.trim_end_matches('.').parse::<u16>().ok()
        });
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let profile = tempfile::tempdir().expect("a folder");
        let session = format!("http://127.0.0.1:{}/session", port.expect("the driver says its port"));
        let folder = format!("--user-data-dir={}", profile.path().display());
        let mut browser = Self { driver, client, runtime, session, _profile: profile };
        let args = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", &folder];
        let options = json!({"binary": chromium, "args": args});
        let wanted = json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}});
        let session = browser.post("", &wanted)["sessionId"].as_str().expect("a session").to_owned();
        browser.session = format!("{}/{session}", browser.session);
        Some(browser)
    }

    /// Sends a command, and takes its answer.
    fn post(&self, path: &str, body: &Value) -> Value {
        let request = self.client.post(format!("{}{path}", self.session)).body(body.to_string());
        self.answer(path, request.header("content-type", "application/json"))
    }

    fn answer(&self, what: &str, request: reqwest::RequestBuilder) -> Value {
        let text = self.runtime.block_on(async { request.send().await?.text().await }).expect("an answer");
        let answer: Value = serde_json::from_str(&text).expect("JSON");
        assert!(answer["value"]["error"].is_null(), "{what}: {text}");
        answer["value"].clone()
    }

    /// Opens a page in a window of this size.
    fn open(&self, page: &Path, width: u32, scheme: &str) {
        let size = json!({"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": false});
        self.tell("Emulation.setDeviceMetricsOverride", &size);
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.tell("Emulation.setEmulatedMedia", &features);
        self.post("/url", &json!({"url": format!("file://{}", page.display())}));
    }

    fn tell(&self, command: &str, params: &Value) {
        self.post("/goog/cdp/execute", &json!({"cmd": command, "params": params}));
    }

    /// What a line of script gives.
    fn ask(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({"script": format!("return {script}"), "args": []}))
    }

    /// Clicks the first element that a selector finds, as a person would.
    fn click(&self, selector: &str) {
        let found = self.post("/element", &json!({"using": "css selector", "value": selector}));
        let id = found.as_object().and_then(|found| found.values().next()).and_then(Value::as_str).expect("an element");
        self.post(&format!("/element/{id}/click"), &json!({}));
    }

    /// The window as a picture, kept where a person can look at it.
    fn screenshot(&self, name: &str) -> image::RgbImage {
        use base64::Engine as _;
        let shot = self.answer("screenshot", self.client.get(format!("{}/screenshot", self.session)));
        let png = base64::engine::general_purpose::STANDARD.decode(shot.as_str().expect("a picture")).expect("base64");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("look");
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join(format!("{name}.png")), &png).expect("a picture");
        image::load_from_memory(&png).expect("PNG").into_rgb8()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let request = self.client.delete(&self.session);
        let _ = self.runtime.block_on(async { request.send().await });
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// The mean level of a picture's corner, where the page is empty.
fn ground(picture: &image::RgbImage) -> u8 {
    picture.get_pixel(2, 2).0[0]
}

#[test]
fn every_page_shows_in_a_browser_wide_and_narrow_in_light_and_in_dark() {
    let Some(browser) = Browser::start() else { return };
    for step in STEPS.iter().chain(&["index"]) {
        let page = work().join("look").join(format!("{step}.html"));
        let mut grounds = Vec::new();
        for (scheme, width) in [("light", 1280), ("dark", 1280), ("light", 400), ("dark", 400)] {
            browser.open(&page, width, scheme);
            let shot = browser.screenshot(&format!("{step}-{scheme}-{width}"));
            assert_eq!(shot.width(), width);
            grounds.push(ground(&shot));
            // Nothing is wider than the window, and nothing was fetched.
            let over = browser.ask("document.documentElement.scrollWidth - window.innerWidth");
            assert!(over.as_i64().is_some_and(|over| over <= 0), "{step} is {over} wider than {width}");
            assert_eq!(
                browser.ask("performance.getEntriesByType('resource').filter(r => !r.name.startsWith('data:')).length"),
                0
            );
        }
        assert!(grounds[0] > 200 && grounds[1] < 60 && grounds[2] > 200 && grounds[3] < 60, "{step}: {grounds:?}");
        // Each picture is one that the browser can draw.
        let decode = "Promise.all([...document.querySelectorAll('.pic')].map(async pic => {
            const image = new Image();
            image.src = getComputedStyle(pic).backgroundImage.slice(5, -2);
            await image.decode();
            return image.naturalWidth }))";
        let widths = browser.ask(decode);
        let widths = widths.as_array().expect("widths");
        assert!(*step == "index" || widths.len() > 10, "{step}");
        assert!(widths.iter().all(|width| width.as_u64().is_some_and(|width| (1..=256).contains(&width))), "{step}");
    }
}

#[test]
fn a_click_enlarges_a_pair_and_folds_a_section() {
    let Some(browser) = Browser::start() else { return };
    browser.open(&work().join("look/dedup.html"), 1280, "light");
    let open = "document.getElementById('big').open";
    assert_eq!(browser.ask(open), false);
    browser.click(".card .pic");
    assert_eq!(browser.ask(open), true);
    let ids = "[...document.querySelectorAll('SELECTOR .id')].map(id => id.textContent)";
    let of = |selector: &str| browser.ask(&ids.replace("SELECTOR", selector));
    let large = of("#big");
    assert_eq!(large.as_array().map(Vec::len), Some(2), "the two of a pair");
    let all = of("main");
    assert!(all.as_array().expect("ids").starts_with(large.as_array().expect("ids")), "{large}");
    let width = |selector: &str| browser.ask(&format!("document.querySelector('{selector}').offsetWidth")).as_u64();
    assert!(width("#big .pic") > width("main .pic").map(|width| 2 * width), "it is larger");
    browser.screenshot("dedup-large");
    browser.click("#big .pic");
    assert_eq!(browser.ask(open), false);

    // The ladder can be folded, and the way to the line leads there.
    let top = "Math.round(document.getElementById('line').getBoundingClientRect().top)";
    browser.click("a[href='#line']");
    assert!(browser.ask(top).as_i64().is_some_and(|top| (0..1000).contains(&top)), "{}", browser.ask(top));
    browser.screenshot("dedup-line");
    let folded = "document.querySelector('details').open";
    assert_eq!(browser.ask(folded), true);
    browser.click("summary");
    assert_eq!(browser.ask(folded), false);

    // A picture of the map shows what it is when it is pointed at.
    browser.open(&work().join("look/embed.html"), 1280, "dark");
    let card = "getComputedStyle(document.querySelector('.dot .card')).display";
    assert_eq!(browser.ask(card), "none");
    browser.ask("document.querySelector('.dot').focus()");
    assert_ne!(browser.ask(card), "none");
    browser.screenshot("embed-dot");

    // The way from the index to a page and back.
    browser.open(&work().join("look/index.html"), 1280, "light");
    browser.click("td a[href='cluster.html']");
    assert_eq!(browser.ask("document.title"), "cluster: what the clusters are of");
    browser.click("nav a");
    assert!(browser.ask("location.pathname").as_str().is_some_and(|path| path.ends_with("/index.html")));
}
