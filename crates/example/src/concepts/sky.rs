//! Pictures of the sky and the sea: horizon, light and what floats there come from the draw.

use lvd_ops::draw::{Canvas, Chance, Colour, Noise, lit, mix};

/// Ripples of light on water below `horizon`.
pub fn water(canvas: &mut Canvas, chance: &Chance, horizon: f32, near: Colour, far: Colour) {
    canvas.gradient(horizon, 1.0, far, near);
    let noise = Noise::new(chance, 2);
    let corner = (canvas.aspect(), 1.0);
    canvas.paint((0.0, horizon), corner, |x, y| {
        let depth = (y - horizon) / (1.0 - horizon) + 0.1;
        let ripple = noise.at(x * 6.0 / depth, y * 40.0 / depth.sqrt());
        (if ripple > 0.5 { lit(far, 1.25) } else { lit(near, 0.8) }, (ripple - 0.5).abs() * 0.7)
    });
}

pub fn sunset(canvas: &mut Canvas, chance: &Chance) {
    let horizon = chance.between(0.45, 0.8);
    let top = chance.near([0.25, 0.16, 0.42], 0.15);
    let glow = chance.near([0.98, 0.55, 0.22], 0.12);
    canvas.gradient(0.0, horizon, top, glow);
    let sun = (chance.between(0.1, 0.9) * canvas.aspect(), horizon - chance.between(-0.02, 0.35));
    canvas.glow(sun, chance.between(0.4, 0.8), [1.0, 0.85, 0.5], 0.8);
    for _ in 0..chance.count(2, 6) {
        let at = (chance.between(0.0, canvas.aspect()), chance.between(0.03, horizon - 0.05));
        let size = (chance.between(0.15, 0.5), chance.between(0.015, 0.06));
        canvas.ellipse(at, size, chance.between(-0.1, 0.1), mix(top, glow, chance.between(0.2, 1.0)));
    }
    canvas.disc(sun, chance.between(0.05, 0.12), [1.0, 0.93, 0.7]);
    water(canvas, chance, horizon, lit(top, 0.6), mix(top, glow, 0.6));
    canvas.glow((sun.0, horizon + 0.1), 0.3, [1.0, 0.7, 0.4], 0.6);
    for _ in 0..chance.count(0, 3) {
        let (left, width) = (chance.between(-0.2, canvas.aspect()), chance.between(0.2, 0.7));
        let height = chance.between(0.03, 0.16);
        canvas.polygon(
            &[(left, horizon), (left + width * chance.between(0.3, 0.7), horizon - height), (left + width, horizon)],
            lit(top, 0.45),
        );
    }
    for _ in 0..chance.count(1, 3) {
        // Something dark stands before the light: a rock, a mast, a tree.
        let (x, foot) = (chance.between(0.0, canvas.aspect()), chance.between(horizon, 1.05));
        let (wide, tall) = (chance.between(0.05, 0.3), chance.between(0.15, 0.6));
        let dark = lit(top, chance.between(0.1, 0.4));
        match chance.count(0, 2) {
            0 => canvas.polygon(
                &[
                    (x - wide, foot),
                    (x - 0.4 * wide, foot - 0.7 * tall),
                    (x + 0.3 * wide, foot - tall),
                    (x + wide, foot),
                ],
                dark,
            ),
            1 => {
                canvas.line((x, foot), (x, foot - tall), 0.015, dark);
                canvas.polygon(
                    &[(x + 0.02, foot - tall), (x + wide, foot - 0.1 * tall), (x + 0.02, foot - 0.1 * tall)],
                    dark,
                );
                canvas.ellipse((x, foot), (wide, 0.04), 0.0, dark);
            }
            _ => {
                canvas.line((x, foot), (x + 0.2 * wide, foot - tall), 0.025, dark);
                canvas.disc((x + 0.2 * wide, foot - tall), 0.7 * wide, dark);
            }
        }
    }
    canvas.grain(0.02, chance);
}

pub fn clouds(canvas: &mut Canvas, chance: &Chance) {
    let blue = chance.near([0.3, 0.55, 0.88], 0.08);
    canvas.gradient(0.0, 1.0, lit(blue, chance.between(0.7, 1.0)), mix(blue, [1.0; 3], chance.between(0.2, 0.6)));
    for _ in 0..chance.count(2, 7) {
        let centre = (chance.between(0.0, canvas.aspect()), chance.between(0.1, 0.95));
        let size = chance.between(0.08, 0.3);
        for puff in 0..14 {
            let at = (centre.0 + chance.between(-1.3, 1.3) * size, centre.1 + chance.between(-0.35, 0.35) * size);
            let shade = if puff < 6 { [0.72, 0.76, 0.84] } else { [0.98, 0.98, 1.0] };
            let lift = if puff < 6 { 0.12 * size } else { -0.1 * size };
            canvas.glow((at.0, at.1 + lift), size * chance.between(0.4, 0.9), shade, 0.95);
        }
    }
    canvas.grain(0.015, chance);
}

pub fn starry_night(canvas: &mut Canvas, chance: &Chance) {
    let night = chance.near([0.04, 0.05, 0.16], 0.03);
    canvas.gradient(0.0, 1.0, night, lit(night, 2.6));
    let (slope, offset) = (chance.between(-1.2, 1.2), chance.between(0.1, 0.9));
    let noise = Noise::new(chance, 3);
    let corner = (canvas.aspect(), 1.0);
    canvas.paint((0.0, 0.0), corner, |x, y| {
        let off = (y - offset - slope * (x - 0.5)).abs();
        ([0.55, 0.5, 0.7], (0.6 - off * 3.0).max(0.0) * noise.at(x * 5.0, y * 5.0))
    });
    for _ in 0..chance.count(80, 200) {
        let at = (chance.between(0.0, canvas.aspect()), chance.between(0.0, 1.0));
        canvas.disc(at, chance.between(0.002, 0.006), chance.near([0.95, 0.95, 0.9], 0.1));
    }
    for _ in 0..chance.count(2, 5) {
        let at = (chance.between(0.0, canvas.aspect()), chance.between(0.0, 0.7));
        canvas.glow(at, chance.between(0.05, 0.12), [0.9, 0.95, 1.0], 1.0);
    }
    if chance.often(0.6) {
        let at = (chance.between(0.1, canvas.aspect() - 0.1), chance.between(0.12, 0.5));
        let r = chance.between(0.06, 0.14);
        canvas.glow(at, r * 2.5, [0.9, 0.9, 0.75], 0.5);
        canvas.disc(at, r, [0.96, 0.95, 0.84]);
        canvas.disc(
            (at.0 + chance.between(-0.9, 0.9) * r, at.1 - 0.2 * r),
            r * chance.between(0.3, 0.9),
            lit(night, 1.6),
        );
    }
    for _ in 0..chance.count(1, 3) {
        let at = (chance.between(0.0, canvas.aspect()), 1.1);
        canvas.ellipse(
            at,
            (chance.between(0.3, 0.9), chance.between(0.15, 0.4)),
            0.0,
            lit(night, chance.between(0.1, 0.6)),
        );
    }
    canvas.grain(0.015, chance);
}

pub fn sailboat(canvas: &mut Canvas, chance: &Chance) {
    let horizon = chance.between(0.35, 0.65);
    let sky = chance.near([0.65, 0.82, 0.95], 0.08);
    canvas.gradient(0.0, horizon, sky, mix(sky, [1.0; 3], 0.6));
    water(canvas, chance, horizon, chance.near([0.08, 0.3, 0.5], 0.08), [0.3, 0.55, 0.7]);
    for _ in 0..chance.count(1, 3) {
        let (x, y) = (chance.between(0.15, canvas.aspect() - 0.15), chance.between(horizon + 0.05, 0.88));
        let s = chance.between(0.2, 0.45) * (y - horizon + 0.5);
        let lean = chance.between(-0.15, 0.15) * s;
        let side = if chance.often(0.5) { 1.0 } else { -1.0 };
        let sail =
            chance.near(chance.pick(&[[0.98, 0.97, 0.92], [0.9, 0.3, 0.2], [0.98, 0.8, 0.3], [0.2, 0.3, 0.6]]), 0.05);
        canvas.line((x, y), (x + lean, y - 1.5 * s), 0.012, [0.3, 0.2, 0.1]);
        canvas.polygon(
            &[(x + lean, y - 1.5 * s), (x + side * 0.75 * s, y - 0.12 * s), (x + side * 0.04, y - 0.12 * s)],
            sail,
        );
        canvas.polygon(
            &[(x + lean, y - 1.3 * s), (x - side * 0.5 * s, y - 0.12 * s), (x - side * 0.04, y - 0.12 * s)],
            lit(sail, 0.8),
        );
        let hull = chance.near(chance.pick(&[[0.55, 0.1, 0.1], [0.1, 0.15, 0.3], [0.9; 3]]), 0.05);
        canvas.polygon(
            &[
                (x - 0.7 * s, y - 0.06 * s),
                (x + 0.75 * s, y - 0.06 * s),
                (x + 0.5 * s, y + 0.2 * s),
                (x - 0.5 * s, y + 0.2 * s),
            ],
            hull,
        );
    }
    canvas.grain(0.02, chance);
}
