//! Shards whose hashes are scattered by one task, and about whose images one task decides.
//!
//! Which shards go together follows from their numbers alone. So the names of the parts of `kept`
//! stay as they are when a source grows, or when `held_hashes` is changed.

use serde::{Deserialize, Serialize};

use crate::stages::catalog::{Catalog, Role};
use crate::stages::context::PlanContext;
use crate::stages::ingest::phases::IngestPhase;
use crate::stages::plan::broken;
use crate::stages::table::Part;
use lvd_base::error::Result;
use lvd_base::types::{ImageId, ShardId};

/// Images of a group, about: small enough for one task to remember the copies among them, and so
/// many that a billion images are a few hundred groups.
pub const GROUP_IMAGES: u64 = 1 << 22;

/// How shards are grouped: so many of one data set that follow one another.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Grouping {
    shards: u64,
}

/// The facts of the shards of a group.
#[derive(Debug, PartialEq, Eq)]
pub struct Group {
    /// The first shard that the group can have, which names it.
    pub name: ShardId,
    /// Whether its exact copies are looked for.
    pub pool: bool,
    pub facts: Vec<Part>,
}

impl Group {
    /// Its images.
    pub fn rows(&self) -> u64 {
        self.facts.iter().map(|part| part.rows).sum()
    }
}

impl Grouping {
    /// The grouping of shards of so many rows.
    pub fn of_shards(shard_rows: u32) -> Self {
        Self { shards: (GROUP_IMAGES / u64::from(shard_rows.max(1))).max(1) }
    }

    /// The name of an image's group.
    pub fn of_image(self, id: ImageId) -> ShardId {
        self.of_shard(id.shard())
    }

    fn of_shard(self, ShardId(shard): ShardId) -> ShardId {
        ShardId(shard - (shard & 0xff_ffff) % self.shards)
    }

    /// The groups of what was fetched, in the order in which it was.
    pub fn fetched(self, context: &PlanContext) -> Result<Vec<Group>> {
        self.cut(context.made(IngestPhase::Fetch, "facts").parts, context.catalog)
    }

    fn cut(self, facts: Vec<Part>, catalog: &Catalog) -> Result<Vec<Group>> {
        let mut groups: Vec<Group> = Vec::new();
        for part in facts {
            let shard = part.shard.ok_or_else(|| broken(format!("{} is of no shard", part.path)))?;
            let name = self.of_shard(shard);
            if let Some(group) = groups.last_mut().filter(|group| group.name == name) {
                group.facts.push(part);
            } else {
                let pool = catalog.role_of(shard) == Some(Role::Pool);
                groups.push(Group { name, pool, facts: vec![part] });
            }
        }
        Ok(groups)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(dataset: u16, shard: u32) -> Part {
        let shard = Some(ShardId::new(dataset, shard));
        let (table, path, sha256) = (String::new(), String::new(), String::new());
        Part { table, path, rows: 1, bytes: 1, sha256, tail: None, shard }
    }

    /// The shards of the groups that shards of two data sets fall into.
    fn cut(shard_rows: u32, shards: [u32; 2]) -> Result<Vec<Vec<ShardId>>> {
        let parts = (0..).zip(shards).flat_map(|(dataset, shards)| (0..shards).map(move |shard| part(dataset, shard)));
        let grouping = Grouping::of_shards(shard_rows);
        let groups = grouping.cut(parts.collect(), &Catalog::default())?;
        for group in &groups {
            for part in &group.facts {
                let last = part.shard.map(|shard| shard.image(0xff_ffff));
                assert_eq!(last.map(|id| grouping.of_image(id)), Some(group.name));
            }
        }
        Ok(groups.iter().map(|group| group.facts.iter().filter_map(|part| part.shard).collect()).collect())
    }

    #[test]
    fn groups_are_of_shards_that_follow_one_another() -> Result<()> {
        let sizes = |shard_rows, shards| Ok(cut(shard_rows, shards)?.iter().map(Vec::len).collect::<Vec<_>>());
        assert_eq!(sizes(1 << 20, [9, 3])?, [4, 4, 1, 3]);
        assert_eq!(sizes(1 << 24, [2, 1])?, [1, 1, 1]);
        assert_eq!(sizes(10_000, [420, 0])?, [419, 1]);
        assert_eq!(sizes(1, [5, 6])?, [5, 6]);
        Ok(())
    }

    #[test]
    fn a_source_that_grows_leaves_whole_groups_as_they_are() -> Result<()> {
        let (before, after) = (cut(1 << 20, [9, 3])?, cut(1 << 20, [14, 3])?);
        assert_eq!(before[..2], after[..2]);
        assert!(before[2].iter().eq(after[2].iter().take(1)), "and begin what was begun alike");
        Ok(())
    }
}
