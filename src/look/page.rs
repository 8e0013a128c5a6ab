//! What a page says: sections of text, tables, plots and pictures. [`super::html`] writes it.
//!
//! Whoever makes a page fills this in and knows nothing of HTML.

use std::collections::BTreeSet;

use crate::look::pictures::{Picture, Pictures};
use lvd_base::types::ImageId;

/// A page.
pub struct Page {
    /// The name of its file, without the ending.
    pub name: String,
    /// Its title.
    pub title: String,
    /// What it shows, in a sentence or two.
    pub about: String,
    /// Its sections, in order.
    pub sections: Vec<Section>,
    /// Pictures that are no images of the pool.
    pub own: Pictures,
}

/// A part of a page that can be folded.
pub struct Section {
    /// Its title.
    pub title: String,
    /// How to read it.
    pub about: String,
    /// What it shows, in order.
    pub blocks: Vec<Block>,
    /// Whether it is folded at first.
    pub folded: bool,
}

/// A piece of a section.
pub enum Block {
    /// A paragraph.
    Note(String),
    /// What to be careful about.
    Warning(String),
    /// A line that divides what is above from what is below: one a page.
    Line(String),
    /// A way to that line.
    ToLine(String),
    /// What to change, and what to type for it.
    Advice(String, String),
    /// A table.
    Table(Grid),
    /// Named amounts as bars.
    Bars(Vec<Bar>),
    /// A plot, as [`super::plot`] draws it.
    Plot(Plot),
    /// Pictures under a caption.
    Figure(Figure),
    /// What the colours of dots mean.
    Key(Vec<(usize, String)>),
    /// Pictures as dots on a plane: each shows when it is pointed at.
    Map(Vec<Dot>),
}

/// A table. A column whose name starts with `>` is set flush right.
pub struct Grid {
    /// Names of the columns.
    pub head: Vec<String>,
    /// Its rows.
    pub rows: Vec<Vec<Cell>>,
}

/// What stands in a table.
pub enum Cell {
    /// Text.
    Text(String),
    /// Text that leads to a page beside this one.
    Link(String, String),
}

/// A named amount beside others.
pub struct Bar {
    /// Its name.
    pub name: String,
    /// How much of the width it takes, 0 to 1; and a second amount to compare with.
    pub shares: Vec<f64>,
    /// The amounts in words.
    pub text: String,
}

/// A plot as SVG, without an address.
pub struct Plot {
    /// What it shows, for those who cannot see it too.
    pub caption: String,
    /// The drawing.
    pub svg: String,
}

/// Cards under a caption.
pub struct Figure {
    /// What they have in common.
    pub caption: String,
    /// The cards, in order.
    pub cards: Vec<Card>,
}

/// Pictures that are looked at together: one, or the two of a pair.
pub struct Card {
    /// What is said above them.
    pub head: String,
    /// The pictures.
    pub shown: Vec<Shown>,
}

/// A picture with what is said of it.
#[derive(Clone)]
pub struct Shown {
    /// Which image.
    pub id: ImageId,
    /// What became of it.
    pub fate: Fate,
    /// What is said below it, beside what is known of every image.
    pub lines: Vec<String>,
}

/// What became of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing is decided here.
    Open,
    /// It goes on.
    Kept,
    /// It does not.
    Dropped,
    /// It is of a seed or reference set.
    Given,
    /// It is no image of the pool.
    Own,
}

/// A picture on a plane.
pub struct Dot {
    /// Which image.
    pub id: ImageId,
    /// From the left, 0 to 1.
    pub x: f64,
    /// From the bottom, 0 to 1.
    pub y: f64,
    /// Its colour: a number of a group.
    pub colour: usize,
}

impl Page {
    /// A page without sections.
    pub fn new(name: impl Into<String>, title: impl Into<String>, about: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            title: title.into(),
            about: about.into(),
            sections: Vec::new(),
            own: Pictures::default(),
        }
    }

    /// Adds a picture that is no image of the pool, to be shown.
    pub fn bring(&mut self, place: String, (width, height): (u32, u32), jpeg: Vec<u8>) -> Shown {
        // No image has such an id: data sets are fewer.
        let id = ImageId(u64::MAX - self.own.len() as u64);
        self.own.add(Picture { id, source: String::new(), place, width, height, jpeg });
        Shown::of(id, Fate::Own)
    }

    /// Adds a section; `about` says how to read it.
    pub fn section(&mut self, title: impl Into<String>, about: impl Into<String>) -> &mut Section {
        let at = self.sections.len();
        let (title, about) = (title.into(), about.into());
        self.sections.push(Section { title, about, blocks: Vec::new(), folded: false });
        &mut self.sections[at]
    }

    /// The pictures it shows, of the pool and its own.
    #[must_use]
    pub fn images(&self) -> BTreeSet<ImageId> {
        let mut ids = BTreeSet::new();
        for block in self.sections.iter().flat_map(|section| &section.blocks) {
            match block {
                Block::Figure(figure) => {
                    ids.extend(figure.cards.iter().flat_map(|card| &card.shown).map(|shown| shown.id));
                }
                Block::Map(dots) => ids.extend(dots.iter().map(|dot| dot.id)),
                _ => {}
            }
        }
        ids
    }
}

impl Section {
    /// Adds a paragraph.
    pub fn note(&mut self, text: impl Into<String>) {
        self.blocks.push(Block::Note(text.into()));
    }

    /// Adds what to change, and what to type for it.
    pub fn advice(&mut self, text: impl Into<String>, command: impl Into<String>) {
        self.blocks.push(Block::Advice(text.into(), command.into()));
    }

    /// Adds a table of texts, unless it has no row.
    pub fn table(&mut self, head: &[&str], rows: Vec<Vec<String>>) {
        if !rows.is_empty() {
            let cells = |row: Vec<String>| row.into_iter().map(Cell::Text).collect();
            let head = head.iter().map(|&name| name.to_owned()).collect();
            self.blocks.push(Block::Table(Grid { head, rows: rows.into_iter().map(cells).collect() }));
        }
    }

    /// Adds pictures under a caption, unless there are none.
    pub fn figure(&mut self, caption: impl Into<String>, cards: Vec<Card>) {
        if !cards.is_empty() {
            self.blocks.push(Block::Figure(Figure { caption: caption.into(), cards }));
        }
    }
}

impl Card {
    /// A card of one picture.
    pub fn one(head: impl Into<String>, shown: Shown) -> Self {
        Self { head: head.into(), shown: vec![shown] }
    }
}

impl Shown {
    /// A picture of which nothing is decided.
    #[must_use]
    pub fn of(id: ImageId, fate: Fate) -> Self {
        Self { id, fate, lines: Vec::new() }
    }

    /// The same with a line more.
    #[must_use]
    pub fn line(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }
}
