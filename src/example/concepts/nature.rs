//! Pictures of plants and animals.

use crate::example::canvas::{Canvas, Chance, Noise, lit, mix};

pub fn forest(canvas: &mut Canvas, chance: &Chance) {
    let mist = chance.near([0.72, 0.8, 0.75], 0.1);
    canvas.gradient(0.0, 1.0, mist, lit(mist, 0.6));
    let green = chance.near([0.12, 0.3, 0.17], 0.07);
    for depth in [0.25, 0.55, 1.0] {
        for _ in 0..chance.count(2, 5) {
            let (x, foot) = (chance.between(0.0, canvas.aspect()), chance.between(0.65, 0.8) + 0.2 * depth);
            let (tall, wide) = (chance.between(0.35, 0.9) * (0.5 + depth / 2.0), chance.between(0.08, 0.2));
            let colour = mix(mist, lit(green, chance.between(0.7, 1.3)), depth);
            canvas.line((x, foot), (x, foot - tall * 0.3), wide * 0.22, mix(mist, [0.22, 0.15, 0.1], depth));
            for tier in 0..4 {
                let tier = f64::from(tier) as f32;
                let (base, width) = (foot - tall * (0.12 + 0.2 * tier), wide * (1.0 - 0.2 * tier));
                canvas.polygon(
                    &[(x, base - tall * 0.34), (x + width, base), (x - width, base)],
                    lit(colour, 1.0 + 0.08 * tier),
                );
            }
        }
    }
    canvas.grain(0.03, chance);
}

pub fn meadow(canvas: &mut Canvas, chance: &Chance) {
    let horizon = chance.between(0.1, 0.45);
    canvas.gradient(0.0, horizon, chance.near([0.5, 0.75, 0.95], 0.08), [0.85, 0.92, 0.97]);
    let green = chance.near([0.35, 0.6, 0.2], 0.08);
    canvas.gradient(horizon, 1.0, lit(green, 1.15), lit(green, 0.6));
    for _ in 0..120 {
        let (x, y) = (chance.between(0.0, canvas.aspect()), chance.between(horizon + 0.1, 1.05));
        canvas.line(
            (x, y),
            (x + chance.between(-0.03, 0.03), y - 0.1 * (y - horizon)),
            0.006,
            lit(green, chance.between(0.6, 1.4)),
        );
    }
    let petals = chance.near(
        chance.pick(&[[0.95, 0.2, 0.2], [0.98, 0.85, 0.15], [0.95; 3], [0.7, 0.3, 0.85], [0.98, 0.5, 0.7]]),
        0.06,
    );
    for _ in 0..chance.count(6, 22) {
        let (x, y) = (chance.between(0.0, canvas.aspect()), chance.between(horizon + 0.08, 0.98));
        let r = chance.between(0.02, 0.08) * (0.4 + y - horizon);
        canvas.line((x, y), (x, y + r * 3.0), r * 0.25, lit(green, 0.7));
        for petal in 0..6 {
            let (sin, cos) = (f64::from(petal) as f32 * std::f32::consts::TAU / 6.0).sin_cos();
            canvas.disc((x + cos * r * 0.8, y + sin * r * 0.8), r * 0.55, petals);
        }
        canvas.disc((x, y), r * 0.45, [0.55, 0.35, 0.1]);
    }
    canvas.grain(0.025, chance);
}

pub fn leaves(canvas: &mut Canvas, chance: &Chance) {
    let ground = chance.near([0.3, 0.22, 0.14], 0.08);
    let noise = Noise::new(chance, 3);
    canvas.fill(|x, y| lit(ground, 0.6 + 0.8 * noise.at(x * 8.0, y * 8.0)));
    for _ in 0..chance.count(14, 40) {
        let at = (chance.between(0.0, canvas.aspect()), chance.between(0.0, 1.0));
        let (long, angle) = (chance.between(0.06, 0.24), chance.between(0.0, std::f32::consts::TAU));
        let colour = chance
            .near(chance.pick(&[[0.85, 0.35, 0.08], [0.9, 0.65, 0.12], [0.65, 0.15, 0.08], [0.5, 0.5, 0.12]]), 0.08);
        canvas.ellipse((at.0 + 0.012, at.1 + 0.015), (long, long * 0.45), angle, lit(ground, 0.4));
        canvas.ellipse(at, (long, long * 0.45), angle, colour);
        let (sin, cos) = angle.sin_cos();
        canvas.line(
            (at.0 - cos * long * 1.25, at.1 - sin * long * 1.25),
            (at.0 + cos * long * 0.9, at.1 + sin * long * 0.9),
            0.008,
            lit(colour, 0.6),
        );
    }
    canvas.grain(0.03, chance);
}

pub fn zebra(canvas: &mut Canvas, chance: &Chance) {
    let grass = chance.near([0.72, 0.65, 0.35], 0.1);
    canvas.gradient(0.0, 1.0, chance.near([0.75, 0.85, 0.92], 0.08), grass);
    for _ in 0..chance.count(1, 3) {
        let s = chance.between(0.5, 1.0);
        let (x, y) = (chance.between(0.2, canvas.aspect() - 0.2), chance.between(0.35, 0.65));
        let side = if chance.often(0.5) { 1.0 } else { -1.0 };
        for leg in [-0.3, -0.2, 0.2, 0.3] {
            canvas.line((x + leg * s, y), (x + leg * s + 0.02, y + 0.42 * s), 0.05 * s, [0.9; 3]);
        }
        canvas.line((x + side * 0.3 * s, y - 0.05 * s), (x + side * 0.48 * s, y - 0.33 * s), 0.15 * s, [0.95; 3]);
        canvas.ellipse((x + side * 0.55 * s, y - 0.36 * s), (0.14 * s, 0.065 * s), side * 0.5, [0.95; 3]);
        canvas.ellipse((x, y), (0.4 * s, 0.19 * s), 0.0, [0.95; 3]);
        let (pitch, bend) = (chance.between(0.05, 0.09) * s, chance.between(-0.5, 0.5));
        for stripe in -7..8 {
            let at = f64::from(stripe) as f32 * pitch;
            let reach = 0.17 * s * (1.0 - (at / (0.42 * s)).powi(2)).max(0.0).sqrt();
            canvas.line(
                (x + at + bend * reach, y - reach),
                (x + at - bend * reach, y + reach),
                pitch * 0.48,
                [0.06; 3],
            );
        }
        for stripe in 0..4 {
            let along = 0.15 + 0.25 * f64::from(stripe) as f32;
            let (cx, cy) = (x + side * s * (0.3 + 0.18 * along), y - s * (0.05 + 0.28 * along));
            canvas.line(
                (cx - 0.06 * s, cy - side * 0.04 * s),
                (cx + 0.06 * s, cy + side * 0.04 * s),
                pitch * 0.45,
                [0.06; 3],
            );
        }
        canvas.disc((x + side * 0.57 * s, y - 0.38 * s), 0.013 * s, [0.02; 3]);
    }
    canvas.grain(0.02, chance);
}

pub fn honeycomb(canvas: &mut Canvas, chance: &Chance) {
    let honey = chance.near([0.9, 0.62, 0.12], 0.06);
    canvas.fill(|_, _| lit(honey, 0.45));
    let r = chance.between(0.05, 0.11);
    let (mut y, mut odd) = (-r, false);
    while y < 1.0 + r {
        let mut x = if odd { -r } else { -r + 0.87 * r };
        while x < canvas.aspect() + r {
            let corners = [0u8, 1, 2, 3, 4, 5].map(|corner| {
                let (sin, cos) = ((f32::from(corner) + 0.5) * std::f32::consts::FRAC_PI_3).sin_cos();
                (x + cos * r * 0.9, y + sin * r * 0.9)
            });
            canvas.polygon(&corners, lit(chance.near(honey, 0.05), chance.between(0.75, 1.15)));
            x += 1.74 * r;
        }
        (y, odd) = (y + 1.5 * r, !odd);
    }
    for _ in 0..chance.count(1, 3) {
        let at = (chance.between(0.0, canvas.aspect()), chance.between(0.0, 1.0));
        canvas.glow(at, chance.between(0.25, 0.5), chance.pick(&[[0.15, 0.07, 0.0], [1.0, 0.95, 0.7]]), 0.9);
    }
    for _ in 0..chance.count(2, 5) {
        let at = (chance.between(0.1, canvas.aspect() - 0.1), chance.between(0.1, 0.9));
        let (s, angle) = (chance.between(0.08, 0.15), chance.between(0.0, std::f32::consts::TAU));
        let (sin, cos) = angle.sin_cos();
        for wing in [-0.5, 0.5] {
            canvas.ellipse(
                (at.0 - sin * wing * s, at.1 + cos * wing * s),
                (s * 0.55, s * 0.26),
                angle + wing,
                [0.9, 0.93, 0.97],
            );
        }
        canvas.ellipse(at, (s, s * 0.45), angle, [0.12, 0.08, 0.03]);
        for band in [-0.45, 0.05, 0.5] {
            let middle = (at.0 + cos * band * s, at.1 + sin * band * s);
            canvas.line(
                (middle.0 - sin * s * 0.3, middle.1 + cos * s * 0.3),
                (middle.0 + sin * s * 0.3, middle.1 - cos * s * 0.3),
                s * 0.17,
                [0.98, 0.8, 0.15],
            );
        }
    }
    canvas.grain(0.02, chance);
}

pub fn fish(canvas: &mut Canvas, chance: &Chance) {
    let sea = chance.near([0.1, 0.45, 0.6], 0.09);
    canvas.gradient(0.0, 1.0, lit(sea, 1.5), lit(sea, 0.4));
    for _ in 0..chance.count(1, 4) {
        let x = chance.between(-0.1, canvas.aspect());
        canvas.polygon(
            &[(x, 0.0), (x + 0.12, 0.0), (x + chance.between(-0.3, 0.5), 1.0), (x - 0.1, 1.0)],
            lit(sea, 1.35),
        );
    }
    for _ in 0..chance.count(2, 6) {
        let x = chance.between(0.0, canvas.aspect());
        canvas.line(
            (x, 1.0),
            (x + chance.between(-0.1, 0.1), chance.between(0.6, 0.9)),
            chance.between(0.03, 0.07),
            chance.near([0.8, 0.35, 0.4], 0.2),
        );
    }
    for _ in 0..chance.count(1, 5) {
        let (x, y, s) =
            (chance.between(0.1, canvas.aspect() - 0.1), chance.between(0.15, 0.8), chance.between(0.1, 0.26));
        let side = if chance.often(0.5) { 1.0 } else { -1.0 };
        let skin = chance
            .near(chance.pick(&[[0.98, 0.55, 0.1], [0.98, 0.85, 0.15], [0.2, 0.4, 0.95], [0.85, 0.2, 0.3]]), 0.06);
        canvas.polygon(
            &[(x - side * 0.75 * s, y), (x - side * 1.45 * s, y - 0.5 * s), (x - side * 1.45 * s, y + 0.5 * s)],
            lit(skin, 0.8),
        );
        canvas.polygon(
            &[(x - 0.3 * s, y - 0.4 * s), (x + 0.2 * s, y - 0.9 * s), (x + 0.35 * s, y - 0.35 * s)],
            lit(skin, 0.75),
        );
        canvas.ellipse((x, y), (s, s * 0.58), 0.0, skin);
        for band in [-0.45, 0.2] {
            canvas.line((x + side * band * s, y - 0.42 * s), (x + side * band * s, y + 0.42 * s), 0.16 * s, [0.97; 3]);
        }
        canvas.disc((x + side * 0.65 * s, y - 0.12 * s), 0.11 * s, [0.98; 3]);
        canvas.disc((x + side * 0.68 * s, y - 0.12 * s), 0.06 * s, [0.03; 3]);
    }
    for _ in 0..chance.count(4, 14) {
        canvas.ring(
            (chance.between(0.0, canvas.aspect()), chance.between(0.0, 1.0)),
            chance.between(0.01, 0.03),
            0.006,
            [0.85, 0.95, 1.0],
        );
    }
    canvas.grain(0.02, chance);
}
