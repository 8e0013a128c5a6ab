//! What several concepts draw with: places well apart, turned shapes, shadows, fruit.

use lvd_ops::draw::{Canvas, Chance, Colour, Point, lit};

pub const TAU: f32 = std::f32::consts::TAU;
pub const DARK: Colour = [0.05, 0.05, 0.06];
pub const WHITE: Colour = [0.97, 0.97, 0.95];
/// Colours of painted and living things.
pub const BRIGHT: [Colour; 8] = [
    [0.90, 0.15, 0.15],
    [0.15, 0.40, 0.85],
    [0.98, 0.80, 0.15],
    [0.20, 0.65, 0.30],
    [0.95, 0.50, 0.70],
    [0.55, 0.25, 0.70],
    [0.10, 0.65, 0.70],
    [0.97, 0.50, 0.10],
];

/// `count` places well apart, none within `margin` of an edge.
pub fn spots(canvas: &Canvas, chance: &Chance, count: u32, margin: f32) -> Vec<Point> {
    let mut spots: Vec<Point> = Vec::new();
    let gap =
        |spots: &[Point], p: Point| spots.iter().fold(f32::MAX, |least, s| least.min((s.0 - p.0).hypot(s.1 - p.1)));
    let place = || (chance.between(margin, canvas.aspect() - margin), chance.between(margin, 1.0 - margin));
    for _ in 0..count {
        let best = (0..8).map(|_| place()).max_by(|a, b| gap(&spots, *a).total_cmp(&gap(&spots, *b)));
        spots.extend(best);
    }
    spots
}

/// A frame of its own for a shape: moved to `at`, turned by `angle`, sized by `size` (a negative
/// width mirrors it).
pub fn frame(at: Point, angle: f32, size: (f32, f32)) -> impl Fn(f32, f32) -> Point {
    let (sin, cos) = angle.sin_cos();
    move |u, v| {
        let (u, v) = (u * size.0, v * size.1);
        (at.0 + u * cos - v * sin, at.1 + u * sin + v * cos)
    }
}

/// Points around the origin at `radius(angle)` for angles from `from` to `to`.
pub fn around(from: f32, to: f32, radius: impl Fn(f32) -> f32) -> impl Iterator<Item = Point> {
    (0..=48u8).map(move |step| {
        let angle = from + (to - from) * f32::from(step) / 48.0;
        (radius(angle) * angle.cos(), radius(angle) * angle.sin())
    })
}

/// Shadow (or light) over everything on one side of the line through `at`, as far as `reach` away
/// from it.
pub fn band(canvas: &mut Canvas, at: Point, angle: f32, reach: f32, (colour, strength): (Colour, f32)) {
    let (sin, cos) = angle.sin_cos();
    let corner = (canvas.aspect(), 1.0);
    canvas.paint((0.0, 0.0), corner, |x, y| {
        let off = (x - at.0) * cos + (y - at.1) * sin;
        (colour, strength * (off * 90.0).clamp(0.0, 1.0) * ((reach - off) * 90.0).clamp(0.0, 1.0))
    });
}

/// An apple, orange, lemon, plum, pear or bunch of grapes.
pub fn fruit(canvas: &mut Canvas, chance: &Chance, at: Point, radius: f32) {
    const KINDS: [(Colour, f32); 7] = [
        ([0.80, 0.10, 0.10], 1.0),
        ([0.97, 0.55, 0.08], 1.0),
        ([0.97, 0.85, 0.20], 0.75),
        ([0.42, 0.15, 0.42], 0.9),
        ([0.50, 0.75, 0.20], 1.0),
        ([0.75, 0.75, 0.25], 1.2),
        ([0.35, 0.12, 0.40], 0.0),
    ];
    let (colour, flat) = chance.pick(&KINDS);
    let colour = chance.near(colour, 0.06);
    if flat == 0.0 {
        for (u, v) in around(0.0, 115.2, |angle| 0.08 * angle.sqrt()).step_by(3) {
            let berry = (at.0 + u * radius, at.1 + v * radius);
            canvas.disc(berry, radius * 0.3, lit(colour, 0.6));
            canvas.disc((berry.0 - radius * 0.04, berry.1 - radius * 0.05), radius * 0.24, colour);
            canvas.glow((berry.0 - radius * 0.1, berry.1 - radius * 0.1), radius * 0.14, [1.0; 3], 0.7);
        }
        return;
    }
    let angle = chance.between(-0.5, 0.5);
    canvas.ellipse(at, (radius, radius * flat.min(1.0)), angle, lit(colour, 0.72));
    if flat > 1.0 {
        canvas.ellipse((at.0, at.1 - radius * 0.7), (radius * 0.55, radius * 0.8), angle, lit(colour, 0.9));
    }
    let inner = (at.0 - radius * 0.08, at.1 - radius * 0.08);
    canvas.ellipse(inner, (radius * 0.87, radius * 0.87 * flat.min(1.0)), angle, colour);
    canvas.glow((at.0 - radius * 0.35, at.1 - radius * 0.35), radius * 0.5, [1.0; 3], 0.7);
    let top = at.1 - radius * if flat > 1.0 { 1.45 } else { 0.75 * flat };
    canvas.line((at.0, top), (at.0 + radius * 0.12, top - radius * 0.35), radius * 0.1, [0.3, 0.2, 0.1]);
}
