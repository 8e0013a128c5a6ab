//! Colours, and what is between them.

/// Red, green and blue from 0 to 1.
pub type Colour = [f32; 3];

/// Between two colours: `share` 0 gives the first, 1 the second.
#[must_use]
pub fn mix(a: Colour, b: Colour, share: f32) -> Colour {
    let share = share.clamp(0.0, 1.0);
    [0, 1, 2].map(|channel| a[channel] + (b[channel] - a[channel]) * share)
}

/// The colour brightened (over 1) or darkened.
#[must_use]
pub fn lit(colour: Colour, by: f32) -> Colour {
    colour.map(|channel| (channel * by).clamp(0.0, 1.0))
}
