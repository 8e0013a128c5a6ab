//! The k best neighbours seen so far, exact under merging.

use lvd_base::types::Neighbour;

/// At most k neighbours, best first; ties go to the lower id.
#[derive(Clone, Debug)]
pub struct TopK {
    k: usize,
    best: Vec<Neighbour>,
}

impl TopK {
    /// None so far.
    #[must_use]
    pub fn new(k: usize) -> Self {
        Self { k, best: Vec::new() }
    }

    /// Takes `neighbour` in, if it is among the k best. Returns the one for which there is no room,
    /// which may be this one.
    pub fn push(&mut self, neighbour: Neighbour) -> Option<Neighbour> {
        let place = self.best.partition_point(|known| *known < neighbour);
        if place >= self.k {
            return Some(neighbour);
        }
        let out = if self.best.len() == self.k { self.best.pop() } else { None };
        self.best.insert(place, neighbour);
        out
    }

    /// The similarity of the k-th best; `None` while there are fewer.
    #[must_use]
    pub fn least(&self) -> Option<f32> {
        (self.best.len() == self.k).then(|| self.best.last().map(|worst| worst.similarity)).flatten()
    }

    /// Those so far, best first.
    #[must_use]
    pub fn best(&self) -> &[Neighbour] {
        &self.best
    }

    /// The k best, best first.
    #[must_use]
    pub fn into_sorted(self) -> Vec<Neighbour> {
        self.best
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lvd_base::types::ImageId;
    use lvd_kernels::hash::Draw;

    #[test]
    fn keeps_what_sorting_everything_would_keep() {
        let draw = Draw::new(2, "top-k");
        // Few distinct similarities, so that ties decide.
        let all: Vec<Neighbour> = (0..300)
            .map(|i| Neighbour { similarity: f32::from((draw.bits(i) % 7) as u8), id: ImageId(draw.bits(i) % 1000) })
            .collect();
        for k in [1, 5, 64, 400] {
            let mut top = TopK::new(k);
            let mut out: Vec<Neighbour> = all.iter().filter_map(|&neighbour| top.push(neighbour)).collect();
            let mut sorted = all.clone();
            sorted.sort();
            out.sort();
            assert_eq!(out, sorted.split_off(k.min(300)), "nothing is lost unsaid");
            assert_eq!(top.into_sorted(), sorted);
        }
    }
}
