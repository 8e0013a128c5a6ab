//! `srcset`: several files of one picture, and which is the largest.

/// The URL of the largest candidate: by width where one has it, or else by density; of equal ones
/// the first. Read as the HTML standard says (4.8.4.2.1).
pub(super) fn largest(srcset: &str) -> Option<&str> {
    let mut best: Option<(Size, &str)> = None;
    let mut rest = srcset;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == ',');
        if rest.is_empty() {
            return best.map(|(_, url)| url);
        }
        let end = rest.find(|c: char| c.is_ascii_whitespace()).unwrap_or(rest.len());
        let (url, after) = rest.split_at(end);
        let whole = url.trim_end_matches(',');
        let descriptors;
        if whole.len() < url.len() {
            (descriptors, rest) = ("", after);
        } else {
            // A comma in brackets does not end a candidate.
            let mut depth = 0;
            let end = after.find(|c: char| {
                depth += i32::from(c == '(') - i32::from(c == ')');
                c == ',' && depth <= 0
            });
            (descriptors, rest) = after.split_at(end.unwrap_or(after.len()));
        }
        let Some(size) = Size::of(descriptors) else { continue };
        if best.is_none_or(|(largest, _)| size.is_above(largest)) {
            best = Some((size, whole));
        }
    }
}

/// How large a candidate says it is.
#[derive(Clone, Copy)]
struct Size {
    width: u64,
    density: f64,
}

impl Size {
    /// `None` where the descriptors make no sense, for which a browser leaves the candidate out.
    fn of(descriptors: &str) -> Option<Self> {
        let mut size = Self { width: 0, density: 1.0 };
        for descriptor in descriptors.split_ascii_whitespace() {
            if let Some(width) = descriptor.strip_suffix('w') {
                size.width = width.parse().ok().filter(|&width| width > 0)?;
            } else if let Some(density) = descriptor.strip_suffix('x') {
                size.density = density.parse().ok().filter(|density: &f64| *density >= 0.0)?;
            } else if descriptor.strip_suffix('h').is_none_or(|height| height.parse::<u64>().is_err()) {
                return None;
            }
        }
        Some(size)
    }

    fn is_above(self, other: Self) -> bool {
        (self.width, self.density) > (other.width, other.density)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_candidate_is_taken() {
        let check = |srcset: &str, expect: Option<&str>| assert_eq!(largest(srcset), expect, "{srcset}");
        check("a.jpg 100w, b.jpg 300w,c.jpg 200w", Some("b.jpg"));
        check("a.jpg, b.jpg 2x, c.jpg 1.5x", Some("b.jpg"));
        check("a.jpg 1x,\n b.jpg 1x", Some("a.jpg"));
        check(" , a,b.jpg 2x , c.jpg", Some("a,b.jpg"));
        check("a.jpg,b.jpg", Some("a.jpg,b.jpg"));
        check("a.jpg,  b.jpg 2x", Some("b.jpg"));
        check("data:image/png;base64,AA== 1x, b.jpg 800w 600h", Some("b.jpg"));
        check("a.jpg 2x, b.jpg what(1, 2) , c.jpg 3x", Some("c.jpg"));
        check("a.jpg 0w, b.jpg -1x, c.jpg NaNx", None);
        check("", None);
        check(",", None);
    }
}
