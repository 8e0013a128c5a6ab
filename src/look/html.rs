//! A page as one HTML file that needs nothing else: style, plots and pictures are inside.
//!
//! Each picture is there once, in the style sheet, however often it is shown. All text is escaped
//! by the library; what is not is ours: style, script and plots.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::look::page::{Block, Card, Cell, Dot, Fate, Figure, Grid, Page, Section, Shown};
use crate::look::pictures::{Picture, Pictures};
use crate::look::words::hex;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// Nothing is fetched from anywhere, whatever a caption or a URL of a stranger says.
const POLICY: &str = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

/// Colours that the style has for dots.
const COLOURS: usize = 8;

/// A page that this one leads to.
pub struct Link {
    /// Its file, beside this one.
    pub file: String,
    /// What it is called.
    pub name: String,
}

/// Writes a page; `links` lead to the others.
#[must_use]
pub fn html(page: &Page, pictures: &Pictures, links: &[Link]) -> String {
    let own = format!("{}.html", page.name);
    let style = format!("{STYLE}{}", embedded(page, pictures));
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="referrer" content="no-referrer";
                title { (page.title) }
                style { (PreEscaped(style)) }
            }
            body {
                nav {
                    @for link in links {
                        @if link.file == own { b { (link.name) } } @else { a href=(link.file) { (link.name) } }
                    }
                }
                main {
                    h1 { (page.title) }
                    p { (page.about) }
                    @for section in &page.sections { (self::section(section, pictures)) }
                }
                footer { "Made by lvd " (env!("CARGO_PKG_VERSION")) " from the step's tables. Click a picture to enlarge it." }
                dialog id="big" {}
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    markup.into_string()
}

/// The pictures of a page as rules of its style sheet.
fn embedded(page: &Page, pictures: &Pictures) -> String {
    let mut rules = String::new();
    for picture in page.images().into_iter().filter_map(|id| pictures.of(id)) {
        let data = STANDARD.encode(&picture.jpeg);
        let _ = writeln!(rules, ".i{}{{background-image:url(data:image/jpeg;base64,{data})}}", hex(picture.id));
    }
    rules
}

fn section(section: &Section, pictures: &Pictures) -> Markup {
    html! {
        details open[!section.folded] {
            summary { (section.title) }
            @if !section.about.is_empty() { p { (prose(&section.about)) } }
            @for block in &section.blocks { (self::block(block, pictures)) }
        }
    }
}

/// Text whose words between backticks are code.
fn prose(text: &str) -> Markup {
    html! {
        @for (at, piece) in text.split('`').enumerate() {
            @if at % 2 == 1 { code { (piece) } } @else { (piece) }
        }
    }
}

fn block(block: &Block, pictures: &Pictures) -> Markup {
    html! {
        @match block {
            Block::Note(text) => p { (prose(text)) },
            Block::ToLine(text) => p { a href="#line" { (text) } },
            Block::Warning(text) => p.warning { (prose(text)) },
            Block::Line(text) => div.threshold #line { (text) },
            Block::Advice(text, command) => div.advice {
                p { (prose(text)) }
                @for line in command.lines() { code { (line) } }
            },
            Block::Table(grid) => (table(grid)),
            Block::Bars(bars) => div.bars {
                @for bar in bars {
                    span { (bar.name) }
                    div { @for share in &bar.shares {
                        div.bar style=(format!("width:{:.2}%", 100.0 * share.clamp(0.0, 1.0))) {}
                    } }
                    span { (bar.text) }
                }
            },
            Block::Plot(plot) => figure.plot {
                figcaption { (plot.caption) }
                (PreEscaped(&plot.svg))
            },
            Block::Figure(figure) => (self::figure(figure, pictures)),
            Block::Key(names) => p {
                @for (colour, name) in names {
                    span.key.{ "c" (colour % COLOURS) } {} (name) " "
                }
            },
            Block::Map(dots) => div.map { @for dot in dots { (self::dot(dot, pictures)) } },
        }
    }
}

fn table(grid: &Grid) -> Markup {
    let class = |column: usize| grid.head.get(column).filter(|name| name.starts_with('>')).map(|_| "right");
    html! {
        div.scroll { table {
            tr { @for (column, name) in grid.head.iter().enumerate() {
                th class=[class(column)] { (name.trim_start_matches('>')) }
            } }
            @for row in &grid.rows {
                tr { @for (column, cell) in row.iter().enumerate() {
                    td class=[class(column)] {
                        @match cell {
                            Cell::Text(text) => (text),
                            Cell::Link(text, file) => a href=(file) { (text) },
                        }
                    }
                } }
            }
        } }
    }
}

fn figure(figure: &Figure, pictures: &Pictures) -> Markup {
    html! {
        figure {
            @if !figure.caption.is_empty() { figcaption { (figure.caption) } }
            div.cards { @for card in &figure.cards { (self::card(card, pictures)) } }
        }
    }
}

fn card(card: &Card, pictures: &Pictures) -> Markup {
    html! {
        div.card {
            @if !card.head.is_empty() { div.head { (card.head) } }
            div.pair { @for shown in &card.shown { (self::shown(shown, pictures.of(shown.id))) } }
        }
    }
}

fn shown(shown: &Shown, picture: Option<&Picture>) -> Markup {
    let id = hex(shown.id);
    let own = shown.fate == Fate::Own;
    let name = match picture {
        Some(picture) if own => picture.place.clone(),
        Some(picture) => format!("{id} {}", picture.place),
        None => id.clone(),
    };
    html! {
        div.shown {
            (self::picture(shown, picture, &name))
            @if let Some((class, word)) = fate(shown.fate) { div.fate.(class) { (word) } }
            @for line in &shown.lines { div { (line) } }
            @if let Some(picture) = picture {
                div.place title=(picture.place) { (ending(&picture.place)) }
                div.facts { (picture.width) "×" (picture.height) @if !own { " · " (picture.source) } }
            }
            @if !own { div.id { (id) } }
        }
    }
}

/// The end of a path or URL: the folder is often the label.
fn ending(place: &str) -> &str {
    let before = place.rmatch_indices('/').nth(1).map_or(0, |(at, _)| at + 1);
    &place[before..]
}

fn picture(shown: &Shown, picture: Option<&Picture>, name: &str) -> Markup {
    let missing = picture.is_none_or(|picture| picture.jpeg.is_empty());
    html! {
        button.pic.{ "i" (hex(shown.id)) } type="button" aria-label=(name) title=(name) {
            @if missing { "no picture" }
        }
    }
}

fn fate(fate: Fate) -> Option<(&'static str, &'static str)> {
    match fate {
        Fate::Open | Fate::Own => None,
        Fate::Kept => Some(("kept", "kept")),
        Fate::Dropped => Some(("dropped", "dropped")),
        Fate::Given => Some(("given", "seed or reference")),
    }
}

fn dot(dot: &Dot, pictures: &Pictures) -> Markup {
    let mut class = format!("dot c{} i{}", dot.colour % COLOURS, hex(dot.id));
    class.push_str(if dot.x > 0.5 { " west" } else { "" });
    class.push_str(if dot.y > 0.5 { " north" } else { "" });
    let place = format!("left:{:.2}%;bottom:{:.2}%", 100.0 * dot.x, 100.0 * dot.y);
    html! {
        div class=(class) style=(place) tabindex="0" {
            (card(&Card::one("", Shown::of(dot.id, Fate::Open)), pictures))
        }
    }
}
