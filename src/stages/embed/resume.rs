//! What a shard has reached, kept for the next attempt at it: a piece every few seconds, each in a
//! checkpoint named after its first job.
//!
//! Two attempts may run at once and cut their pieces elsewhere. A piece says how many jobs it
//! holds, and the next is looked for under that number: a chain of pieces is of one cut or ends.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::stages::embed::worker::Embedded;
use crate::stages::task::Task;
use lvd_base::error::Result;
use lvd_base::types::{ImageId, Reason};
use lvd_io::checkpoint;

/// From one piece to the next: what a kill costs at most.
const KEPT_EVERY: Duration = Duration::from_secs(20);

/// A run of jobs and what came of them. Each is replayed as it was, so that parts are written as if
/// nothing had happened.
#[derive(Default, Serialize, Deserialize)]
struct Piece {
    /// Images with vectors, and drops, of each job.
    jobs: Vec<(usize, Vec<Reason>)>,
    ids: Vec<ImageId>,
    sha256: Vec<String>,
    /// What the first model that failed said.
    failure: Option<String>,
}

/// The pieces of a task.
pub struct Pieces {
    /// The path of the piece that begins at job 0, without its number.
    path: PathBuf,
    every: Duration,
    /// Jobs in pieces that are kept.
    kept: usize,
    pending: Piece,
    /// For each embedder, the vectors of the pending piece.
    vectors: Vec<Vec<f32>>,
    since: Instant,
}

impl Pieces {
    /// Those of a task whose jobs have `job_images` images and which takes over the vectors of this
    /// name: with other jobs, other numbers.
    pub fn of(task: &Task, job_images: usize, carried: &str) -> Self {
        Self::at(task.checkpoint(&format!("{carried}{job_images}")), KEPT_EVERY)
    }

    fn at(path: PathBuf, every: Duration) -> Self {
        Self { path, every, kept: 0, pending: Piece::default(), vectors: Vec::new(), since: Instant::now() }
    }

    /// Hands on the jobs that earlier attempts kept, in order; how many there were.
    pub fn replay(&mut self, sink: &mut dyn FnMut(&Embedded) -> Result<()>) -> Result<usize> {
        while let Some((piece, vectors)) = checkpoint::load::<Piece>(&self.piece(self.kept)) {
            if piece.jobs.is_empty() {
                break;
            }
            self.kept += piece.jobs.len();
            piece.replay(&vectors, sink)?;
        }
        Ok(self.kept)
    }

    /// Takes a job; keeps those it holds when it is time.
    pub fn add(&mut self, embedded: &Embedded) -> Result<()> {
        let Piece { jobs, ids, sha256, failure } = &mut self.pending;
        jobs.push((embedded.ids.len(), embedded.drops.clone()));
        ids.extend(&embedded.ids);
        sha256.extend_from_slice(&embedded.sha256);
        if failure.is_none() {
            failure.clone_from(&embedded.failure);
        }
        self.vectors.resize(self.vectors.len().max(embedded.vectors.len()), Vec::new());
        for (all, vectors) in self.vectors.iter_mut().zip(&embedded.vectors) {
            all.extend_from_slice(vectors);
        }
        if self.since.elapsed() < self.every {
            return Ok(());
        }
        checkpoint::save(&self.piece(self.kept), &self.pending, &self.vectors)?;
        self.kept += self.pending.jobs.len();
        self.pending = Piece::default();
        self.vectors.clear();
        self.since = Instant::now();
        Ok(())
    }

    /// Removes all pieces: the shard is whole. What is left behind goes with the step's folder of
    /// checkpoints.
    pub fn clear(self) {
        let mut first = 0;
        while let Some((piece, _)) = checkpoint::load::<Piece>(&self.piece(first)) {
            let gone = std::fs::remove_file(self.piece(first)).is_ok();
            if !gone || piece.jobs.is_empty() {
                return;
            }
            first += piece.jobs.len();
        }
    }

    /// The checkpoint of the piece that begins at job `first`.
    fn piece(&self, first: usize) -> PathBuf {
        let mut path = self.path.as_os_str().to_owned();
        path.push(format!("-{first}"));
        PathBuf::from(path)
    }
}

impl Piece {
    fn replay(mut self, vectors: &[Vec<f32>], sink: &mut dyn FnMut(&Embedded) -> Result<()>) -> Result<()> {
        let images: usize = self.jobs.iter().map(|(images, _)| images).sum();
        let widths: Vec<usize> = vectors.iter().map(|vectors| vectors.len() / images.max(1)).collect();
        let mut first = 0;
        for (images, drops) in self.jobs {
            let rows = first..first + images;
            let of_job = |(vectors, &width): (&Vec<f32>, &usize)| {
                vectors.get(rows.start * width..rows.end * width).unwrap_or_default().to_vec()
            };
            let mut embedded = Embedded { drops, failure: self.failure.take(), ..Embedded::default() };
            if images > 0 {
                embedded.ids = self.ids[rows.clone()].to_vec();
                embedded.sha256 = self.sha256[rows.clone()].to_vec();
                embedded.vectors = vectors.iter().zip(&widths).map(of_job).collect();
            }
            sink(&embedded)?;
            first += images;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lvd_base::error::Error;

    /// Job `number`: up to three images, in which every fifth job has none.
    fn job(number: usize) -> Embedded {
        let images = if number % 5 == 4 { 0 } else { 1 + number % 3 };
        let row = |at: usize| u32::try_from(3 * number + at).unwrap_or_default();
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let values = |width: usize| (0..images * width).map(|i| (number * 100 + i) as f32).collect();
        Embedded {
            ids: (0..images).map(|at| ImageId::new(1, 0, row(at))).collect(),
            sha256: (0..images).map(|at| format!("{}", row(at))).collect(),
            vectors: if images > 0 { vec![values(2), values(3)] } else { Vec::new() },
            drops: vec![Reason::ZeroVector; number % 2],
            failure: (number == 3).then(|| "no".to_owned()),
            ..Embedded::default()
        }
    }

    type Seen = (Vec<ImageId>, Vec<String>, Vec<Vec<f32>>, Vec<Reason>);

    fn seen(embedded: &Embedded) -> Seen {
        (embedded.ids.clone(), embedded.sha256.clone(), embedded.vectors.clone(), embedded.drops.clone())
    }

    fn replayed(pieces: &mut Pieces) -> Result<(Vec<Seen>, Option<String>)> {
        let (mut jobs, mut failure) = (Vec::new(), None);
        let count = pieces.replay(&mut |embedded| {
            jobs.push(seen(embedded));
            failure = failure.take().or(embedded.failure.clone());
            Ok(())
        })?;
        assert_eq!(count, jobs.len());
        Ok((jobs, failure))
    }

    #[test]
    fn jobs_come_back_as_they_were_from_one_cut() -> Result<()> {
        let folder = tempfile::tempdir().map_err(Error::io("a temporary folder"))?;
        let open = |every| Pieces::at(folder.path().join("_checkpoint/embed-key-8"), every);
        assert_eq!(replayed(&mut open(Duration::ZERO))?, (Vec::new(), None));
        // One piece a job, and a last one that was not kept.
        let mut pieces = open(Duration::ZERO);
        for number in 0..11 {
            pieces.add(&job(number))?;
        }
        pieces.every = Duration::from_secs(1000);
        pieces.add(&job(11))?;
        let mut again = open(Duration::ZERO);
        let (jobs, failure) = replayed(&mut again)?;
        assert_eq!(jobs, (0..11).map(|number| seen(&job(number))).collect::<Vec<_>>());
        assert_eq!(failure.as_deref(), Some("no"));
        // It goes on behind them.
        again.add(&job(11))?;
        assert_eq!(replayed(&mut open(Duration::ZERO))?.0.len(), 12);
        // Another attempt has cut its first piece after three jobs: the chain goes on at job 3.
        let mut other = open(Duration::from_secs(1000));
        for number in 0..3 {
            other.every = if number == 2 { Duration::ZERO } else { other.every };
            other.add(&job(number))?;
        }
        let jobs = replayed(&mut open(Duration::ZERO))?.0;
        assert_eq!(jobs, (0..12).map(|number| seen(&job(number))).collect::<Vec<_>>());
        // A damaged piece ends it.
        std::fs::write(folder.path().join("_checkpoint/embed-key-8-5"), "half").map_err(Error::io("a piece"))?;
        assert_eq!(replayed(&mut open(Duration::ZERO))?.0.len(), 5);
        open(Duration::ZERO).clear();
        assert_eq!(replayed(&mut open(Duration::ZERO))?.0.len(), 0);
        Ok(())
    }
}
