//! Who is in the example: every file that will be written, decided before one is drawn.
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a few thousand files"
)]

use crate::concepts::{CONCEPTS, named};
use crate::edits::Edit;
use lvd_kernels::hash::Draw;
use lvd_ops::draw::Chance;

/// Pool files that are byte-for-byte copies of another.
const EXACT_SHARE: f32 = 0.03;
/// Pool files that are edited copies of another.
const EDITED_SHARE: f32 = 0.15;
/// Pool files that are broken, and as many that are tiny or huge.
const BAD_SHARE: f32 = 0.01;
/// How fast concepts get rarer: the r-th has r^-1.1 of the first's pictures.
const RARITY: f32 = 1.1;
/// Pictures held out, half of which have an edited copy in the pool.
const HELD_OUT: usize = 40;

/// A picture: what it shows, and which of that kind it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scene {
    /// Index into [`CONCEPTS`].
    pub concept: usize,
    /// Number within the concept; pictures of all roles are numbered together.
    pub number: u64,
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A picture of its own.
    Original,
    /// The bytes of another file, by index.
    ExactCopy(usize),
    /// Another file's picture, edited.
    EditedCopy(usize, Edit),
    /// A file that no decoder should accept, in one of several ways.
    Broken(u8),
    /// A picture too small to be of use.
    Tiny,
    /// A picture whose header promises more pixels than anyone should decode.
    Huge,
}

/// A file to be.
#[derive(Clone, Debug)]
pub struct Member {
    /// `pool`, `seed` or `reference`.
    pub role: &'static str,
    /// Its source, and its folder.
    pub source: &'static str,
    /// What it shows, or would show.
    pub scene: Scene,
    /// What it is.
    pub kind: Kind,
}

const SOURCES: [&str; 3] = ["web", "news", "archive"];

/// Decides on every file: `pool` files of the pool, two seed sets and a reference set.
#[must_use]
pub fn cast(draw: Draw, pool: usize) -> Vec<Member> {
    let chance = Chance::new(draw);
    let mut next = vec![0u64; CONCEPTS.len()];
    let mut scene = |concept: usize| {
        next[concept] += 1;
        Scene { concept, number: next[concept] }
    };
    let mut members = Vec::new();
    let original = |role, source, scene| Member { role, source, scene, kind: Kind::Original };
    for (concept, count) in [("sailboat", 20), ("fish", 10)] {
        members.extend((0..count).map(|_| original("seed", "sailing", scene(named(concept)))));
    }
    for (concept, count) in [("starry_night", 6), ("skyline", 6)] {
        members.extend((0..count).map(|_| original("seed", "night", scene(named(concept)))));
    }
    let first_held_out = members.len();
    members.extend((0..HELD_OUT).map(|i| original("reference", "holdout", scene(i % CONCEPTS.len()))));

    let of_pool = |share: f32| ((pool as f32 * share) as usize).max(2);
    let (exact, edited, bad) =
        (of_pool(EXACT_SHARE), of_pool(EDITED_SHARE).max(2 * Edit::ALL.len()), of_pool(BAD_SHARE).max(4));
    let contaminated = HELD_OUT / 2;
    let originals = pool.saturating_sub(exact + edited + contaminated + 2 * bad);
    let weights: Vec<f32> = (0..CONCEPTS.len()).map(|rank| (rank as f32 + 1.0).powf(-RARITY)).collect();
    let total: f32 = weights.iter().sum();
    let first_original = members.len();
    for i in 0..originals {
        // Evenly spread over the cumulative weights: the counts are the shares, rounded.
        let mut place = (i as f32 + 0.5) / originals as f32 * total;
        let concept = weights.iter().position(|weight| {
            place -= weight;
            place < 0.0
        });
        let source = SOURCES[usize::from(chance.often(0.55)) + usize::from(chance.often(0.25))];
        members.push(original("pool", source, scene(concept.unwrap_or(CONCEPTS.len() - 1))));
    }
    let last_original = members.len() - 1;
    let mut copy = |of: usize, kind: Kind| {
        let scene = members[of].scene;
        members.push(Member { role: "pool", source: chance.pick(&SOURCES), scene, kind });
    };
    let some_original = || chance.count(first_original as u32, last_original as u32) as usize;
    for _ in 0..exact {
        let of = some_original();
        copy(of, Kind::ExactCopy(of));
    }
    let mut of = some_original();
    for i in 0..edited {
        // Some pictures are copied once, some again and again.
        if chance.often(0.7) {
            of = some_original();
        }
        copy(of, Kind::EditedCopy(of, Edit::ALL[i % Edit::ALL.len()]));
    }
    for i in 0..contaminated {
        let of = first_held_out + i;
        copy(of, Kind::EditedCopy(of, Edit::MILD[i % Edit::MILD.len()]));
    }
    for i in 0..bad {
        copy(some_original(), Kind::Broken((i % 4) as u8));
        copy(some_original(), if i % 2 == 0 { Kind::Tiny } else { Kind::Huge });
    }
    members
}
