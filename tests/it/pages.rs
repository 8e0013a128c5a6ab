//! The pages beside the program: commands that parse, links that lead somewhere, keys that exist,
//! files that are there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::common::run;
use toml::{Table, Value};

/// Pages that the program prints. Another test holds them, and their lines are as long as they are.
const PRINTED: [&str; 2] = ["docs/config.md", "docs/tables.md"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A piece of a page.
#[derive(Debug)]
enum Piece {
    Heading(String),
    /// A line of text, with its number; code spans as they are.
    Text(usize, String),
    /// A block of code, with what its fence says; nothing, where it is indented.
    Code(String, String),
}

struct Page {
    path: PathBuf,
    name: String,
    pieces: Vec<Piece>,
}

impl Page {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("the page");
        let name = path.strip_prefix(root()).expect("below").to_string_lossy().into_owned();
        Self { path: path.to_owned(), name, pieces: pieces(&text) }
    }

    fn all() -> Vec<Self> {
        let mut paths: Vec<PathBuf> =
            ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| root().join(name)).into();
        for entry in std::fs::read_dir(root().join("docs")).expect("docs") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|ending| ending == "md") {
                paths.push(path);
            }
        }
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }

    /// The text without code.
    fn prose(&self) -> String {
        let lines = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(_, line) | Piece::Heading(line) => Some(line.as_str()),
            Piece::Code(..) => None,
        });
        let text = lines.collect::<Vec<_>>().join("\n");
        text.split('`').step_by(2).collect::<Vec<_>>().join("`")
    }

    /// What stands in code: the spans within lines, and the blocks of these kinds.
    fn code(&self, kinds: &[&str]) -> Vec<String> {
        let mut found = Vec::new();
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(_, line) | Piece::Heading(line) => text = text + line + "\n",
                Piece::Code(kind, code) if kinds.contains(&kind.as_str()) => found.push(code.clone()),
                Piece::Code(..) => {}
            }
        }
        found.extend(text.split('`').skip(1).step_by(2).map(|span| span.replace('\n', " ")));
        found
    }

    /// The anchors of its headings, as GitHub makes them.
    fn anchors(&self) -> BTreeSet<String> {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let headings = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Heading(text) => Some(text),
            _ => None,
        });
        headings
            .map(|text| {
                let kept = text.to_lowercase();
                let kept = kept.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
                let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
                let before = seen.entry(anchor.clone()).or_default();
                *before += 1;
                if *before == 1 { anchor } else { format!("{anchor}-{}", *before - 1) }
            })
            .collect()
    }
}

fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let (mut fence, mut list, mut after_blank) = (None::<(String, String)>, false, true);
    for (number, line) in (1..).zip(text.lines()) {
        if let Some((kind, code)) = &mut fence {
            if line.trim_start().starts_with("```") {
                pieces.push(Piece::Code(std::mem::take(kind), std::mem::take(code)));
                fence = None;
            } else {
                *code += line;
                code.push('\n');
            }
            continue;
        }
        let indented = line.starts_with("    ");
        if let Some(kind) = line.trim_start().strip_prefix("```") {
            fence = Some((kind.trim().to_owned(), String::new()));
        } else if let Some(heading) = line.strip_prefix('#') {
            pieces.push(Piece::Heading(heading.trim_start_matches('#').trim().to_owned()));
            list = false;
        } else if indented
            && !list
            && (after_blank || matches!(pieces.last(), Some(Piece::Code(kind, _)) if kind.is_empty()))
        {
            match pieces.last_mut() {
                Some(Piece::Code(kind, code)) if kind.is_empty() && !after_blank => {
                    *code += &line[4..];
                    code.push('\n');
                }
                _ => pieces.push(Piece::Code(String::new(), format!("{}\n", &line[4..]))),
            }
        } else if !line.trim().is_empty() {
            let item = ["- ", "* "].iter().any(|mark| line.trim_start().starts_with(mark));
            let numbered = line.split_once(". ").is_some_and(|(number, _)| number.trim().parse::<u32>().is_ok());
            list = item || numbered || list && line.starts_with(' ');
            pieces.push(Piece::Text(number, line.to_owned()));
        }
        after_blank = line.trim().is_empty();
    }
    assert!(fence.is_none(), "a fence that is never closed");
    pieces
}

/// Every `lvd COMMAND ...` in a piece of code: the command, and its flags.
fn commands(code: &str) -> Vec<(String, Vec<String>)> {
    let code = code.replace("\\\n", " ");
    let mut found = Vec::new();
    for line in code.lines() {
        for (at, _) in line.match_indices("lvd ") {
            if !line[..at].chars().next_back().is_none_or(|before| " (/".contains(before)) {
                continue;
            }
            let rest = line[at + 4..].split(['#', '|', ';', '>', '&', ')']).next().unwrap_or_default();
            let mut words = rest.split_whitespace();
            let Some(command) = words.next().filter(|word| word.chars().all(|c| c.is_ascii_lowercase())) else {
                continue;
            };
            let flags = words.filter_map(|word| word.trim_start_matches(['[', '\'']).strip_prefix("--"));
            let flag = |flag: &str| flag.split(['=', ',', '.', ':', ']', '\'']).next().unwrap_or_default().to_owned();
            found.push((command.to_owned(), flags.map(flag).filter(|flag| !flag.is_empty()).collect()));
        }
    }
    found
}

/// The help of a command and of those below it.
fn help_of(command: &str) -> String {
    let help = run(&[command, "--help"]);
    let below = help.split_once("Commands:\n").map_or("", |(_, rest)| rest);
    let names = below.lines().map_while(|line| line.strip_prefix("  ")).filter_map(|line| line.split(' ').next());
    let helps: Vec<String> = names.filter(|name| *name != "help").map(|name| run(&[command, name, "--help"])).collect();
    help.clone() + &helps.concat()
}

#[test]
fn every_command_in_the_pages_is_one_of_the_program() {
    let help = run(&["--help"]);
    let listed = help.lines().filter_map(|line| line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')));
    let names: BTreeSet<String> = listed.filter_map(|rest| rest.split_whitespace().next().map(str::to_owned)).collect();
    let mut helps: BTreeMap<String, String> = BTreeMap::new();
    let (mut wrong, mut looked_at) = (Vec::new(), 0);
    for page in Page::all() {
        for (command, flags) in page.code(&["", "sh", "bash"]).iter().flat_map(|code| commands(code)) {
            looked_at += 1;
            if !names.contains(&command) {
                wrong.push(format!("{}: lvd {command}", page.name));
                continue;
            }
            let help = helps.entry(command.clone()).or_insert_with(|| help_of(&command));
            let known: BTreeSet<&str> = help.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).collect();
            let unknown = flags.iter().filter(|flag| !known.contains(format!("--{flag}").as_str()));
            wrong.extend(unknown.map(|flag| format!("{}: lvd {command} --{flag}", page.name)));
        }
    }
    assert!(wrong.is_empty(), "the program has none of these:\n{}", wrong.join("\n"));
    assert!(looked_at > 100, "{looked_at} commands");
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let pages = Page::all();
    let anchors: BTreeMap<&Path, BTreeSet<String>> = pages.iter().map(|page| (&*page.path, page.anchors())).collect();
    let (mut wrong, mut looked_at) = (Vec::new(), 0);
    for page in &pages {
        let prose = page.prose();
        for link in prose.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            looked_at += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let folder = page.path.parent().expect("a folder");
            let target = if path.is_empty() { Ok(page.path.clone()) } else { folder.join(path).canonicalize() };
            let leads = target.is_ok_and(|target| {
                anchor.is_empty() || anchors.get(&*target).is_some_and(|anchors| anchors.contains(anchor))
            });
            if !leads {
                wrong.push(format!("{}: {link}", page.name));
            }
        }
    }
    assert!(wrong.is_empty(), "these links lead nowhere:\n{}", wrong.join("\n"));
    assert!(looked_at > 50, "{looked_at} links");
}

#[test]
fn every_file_that_the_pages_name_is_there() {
    let rooms = ["src/", "crates/", "tests/", "benches/", "docs/", "pipelines/"];
    let mut wrong = Vec::new();
    for page in Page::all().iter().filter(|page| !PRINTED.contains(&&*page.name)) {
        let spans = page.code(&[]);
        let named = spans.iter().filter(|span| rooms.iter().any(|room| span.starts_with(room)));
        // A word in capitals stands for a name.
        let named = named.filter(|span| !span.split('/').any(|part| part.len() > 1 && part == part.to_uppercase()));
        let missing = named.filter(|span| !root().join(span.split_whitespace().next().unwrap_or_default()).exists());
        wrong.extend(missing.map(|span| format!("{}: {span}", page.name)));
    }
    assert!(wrong.is_empty(), "there are no such files:\n{}", wrong.join("\n"));
}

#[test]
fn no_page_holds_the_marks_of_a_merge() {
    for page in Page::all() {
        let text = std::fs::read_to_string(&page.path).expect("the page");
        let mark = text.lines().find(|line| line.starts_with("<<<<<<<") || line.starts_with(">>>>>>>"));
        assert!(mark.is_none(), "{}: {mark:?}", page.name);
    }
}

#[test]
fn lines_of_prose_have_a_hundred_characters_at_most() {
    let mut wrong = Vec::new();
    for page in Page::all().iter().filter(|page| !PRINTED.contains(&&*page.name)) {
        for piece in &page.pieces {
            if let Piece::Text(number, line) = piece
                && line.chars().count() > 100
                && !line.starts_with('|')
            {
                wrong.push(format!("{}:{number}", page.name));
            }
        }
    }
    assert!(wrong.is_empty(), "too long:\n{}", wrong.join("\n"));
}

/// The blocks of TOML in the pages, and the files of `pipelines/`.
fn pipelines() -> Vec<(String, String, Table)> {
    let mut found = Vec::new();
    for page in Page::all() {
        for piece in &page.pieces {
            if let Piece::Code(kind, code) = piece
                && kind == "toml"
            {
                found.push((page.name.clone(), code.clone()));
            }
        }
    }
    for entry in std::fs::read_dir(root().join("pipelines")).expect("pipelines") {
        let path = entry.expect("an entry").path();
        found.push((path.to_string_lossy().into_owned(), std::fs::read_to_string(&path).expect("a file")));
    }
    let parsed = |(name, text): (String, String)| {
        let table = text.parse::<Table>().unwrap_or_else(|error| panic!("{name}: {error}\n{text}"));
        (name, text, table)
    };
    found.into_iter().map(parsed).collect()
}

/// The keys of each section of docs/config.md, by the section's title.
fn keys() -> BTreeMap<String, BTreeSet<String>> {
    let mut sections = BTreeMap::new();
    let mut section = String::new();
    for piece in Page::read(&root().join("docs/config.md")).pieces {
        match piece {
            Piece::Heading(title) => section = title.replace('`', ""),
            Piece::Text(_, line) => {
                if let Some((key, _)) = line.strip_prefix("| `").and_then(|rest| rest.split_once('`')) {
                    sections.entry(section.clone()).or_insert_with(BTreeSet::new).insert(key.to_owned());
                }
            }
            Piece::Code(..) => {}
        }
    }
    sections
}

/// The keys of `table` that its section does not have.
fn unknown(table: &Value, section: &str, keys: &BTreeMap<String, BTreeSet<String>>, wrong: &mut Vec<String>) {
    let known = keys.get(section).unwrap_or_else(|| panic!("docs/config.md has no section {section:?}"));
    for (key, value) in table.as_table().into_iter().flatten() {
        match (section, key.as_str()) {
            (_, "stage") => {}
            ("[engine.slurm]", "overrides") => {
                value.as_table().into_iter().flatten().for_each(|(_, of)| unknown(of, section, keys, wrong));
            }
            (_, key) if !known.contains(key) => wrong.push(format!("{section} {key}")),
            ("stage = \"ingest\"", "http") => unknown(value, "[steps.NAME.http] of ingest", keys, wrong),
            ("stage = \"retrieve\"", "sets") => {
                let rules = value.as_table().into_iter().flatten();
                rules.for_each(|(_, rule)| unknown(rule, "[steps.NAME.sets.SOURCE] of retrieve", keys, wrong));
            }
            _ => {}
        }
    }
}

#[test]
fn every_key_in_the_pages_is_a_setting() {
    let (keys, mut looked_at) = (keys(), 0);
    for (name, text, file) in pipelines() {
        let mut wrong = Vec::new();
        for (key, value) in &file {
            let of_all = |section: &str, wrong: &mut Vec<String>| {
                value.as_table().into_iter().flatten().for_each(|(_, of)| unknown(of, section, &keys, wrong));
            };
            match key.as_str() {
                "sources" => of_all("[sources.NAME]", &mut wrong),
                "embedders" => of_all("[embedders.NAME]", &mut wrong),
                "engine" => unknown(&value["slurm"], "[engine.slurm]", &keys, &mut wrong),
                "steps" => {
                    for (step, settings) in value.as_table().into_iter().flatten() {
                        let stage = settings.get("stage").and_then(Value::as_str).unwrap_or(step);
                        unknown(settings, &format!("stage = \"{stage}\""), &keys, &mut wrong);
                        looked_at += 1;
                    }
                }
                key if keys["Top level"].contains(key) => {}
                key => wrong.push(key.to_owned()),
            }
        }
        assert!(wrong.is_empty(), "{name}: docs/config.md does not have {wrong:?}\n{text}");
    }
    assert!(looked_at > 40, "{looked_at} steps");
}

#[test]
fn every_whole_pipeline_file_in_the_pages_can_be_planned() {
    let mut planned = 0;
    for (name, text, file) in pipelines() {
        let whole = ["sources", "steps"].iter().all(|key| file.contains_key(*key));
        let ingests = file.get("steps").and_then(|steps| steps.get("ingest")).is_some();
        let of_a_page = Path::new(&name).is_relative();
        if !of_a_page || !whole || !ingests || file["steps"].as_table().is_none_or(|steps| steps.len() < 3) {
            continue;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("page.toml");
        std::fs::write(&path, &text).expect("the file is written");
        let path = path.to_string_lossy().into_owned();
        // Sources that are not there are planned by what the file declares.
        let sizes: Vec<String> = file["sources"]
            .as_table()
            .into_iter()
            .flatten()
            .map(|(source, keys)| {
                // Seeds are in the data set whole: there must be fewer than its target.
                let is_seed = keys.get("role").and_then(toml::Value::as_str) == Some("seed");
                format!("sources.{source}.images={}", if is_seed { 100 } else { 100_000_000 })
            })
            .collect();
        let set = sizes.iter().flat_map(|size| ["--set", size.as_str()]);
        run(&["plan", &path].into_iter().chain(set).collect::<Vec<_>>());
        planned += 1;
    }
    assert!(planned >= 2, "{planned} whole files");
}
