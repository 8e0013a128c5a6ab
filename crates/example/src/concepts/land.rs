//! Pictures of land: what stands where, and under which light, comes from the draw.

use lvd_ops::draw::{Canvas, Chance, Noise, lit, mix};

pub fn mountains(canvas: &mut Canvas, chance: &Chance) {
    let sky = chance.near([0.5, 0.7, 0.92], 0.12);
    canvas.gradient(0.0, 1.0, sky, mix(sky, [1.0, 0.95, 0.9], 0.7));
    let rock = chance.near([0.36, 0.4, 0.5], 0.08);
    for far in [0.0, 0.22, 0.44].into_iter().take(chance.pick(&[2, 3])) {
        let near = 1.0 - far;
        for _ in 0..chance.count(1, 3) {
            let peak = (chance.between(-0.1, canvas.aspect() + 0.1), chance.between(0.08, 0.5) + 0.12 * (1.0 - near));
            let (left, right) = (chance.between(0.35, 0.9), chance.between(0.35, 0.9));
            let side = chance.between(-0.1, 0.1);
            canvas.polygon(&[peak, (peak.0 + right, 1.0), (peak.0 - left, 1.0)], lit(rock, near));
            canvas.polygon(&[peak, (peak.0 + right, 1.0), (peak.0 + side, 1.0)], lit(rock, near * 0.72));
            let snow = chance.between(0.12, 0.3);
            let foot = |share: f32, width: f32| (peak.0 + width * snow * share / (1.0 - peak.1), peak.1 + snow * share);
            canvas.polygon(
                &[
                    peak,
                    foot(0.9, right),
                    foot(0.55, right * 0.3),
                    foot(1.0, 0.0),
                    foot(0.6, -left * 0.4),
                    foot(0.85, -left),
                ],
                [0.96, 0.97, 1.0],
            );
        }
    }
    if chance.often(0.6) {
        let floor = chance.between(0.75, 0.9);
        canvas.gradient(floor, 1.0, chance.near([0.2, 0.4, 0.22], 0.08), [0.1, 0.24, 0.12]);
    }
    canvas.grain(0.02, chance);
}

pub fn skyline(canvas: &mut Canvas, chance: &Chance) {
    let dusk = chance.near([0.1, 0.1, 0.25], 0.07);
    canvas.gradient(0.0, 1.0, dusk, mix(dusk, [0.7, 0.35, 0.35], chance.between(0.2, 0.8)));
    let ground = chance.between(0.8, 0.98);
    for row in 0..2 {
        let mut x = chance.between(-0.15, 0.0);
        while x < canvas.aspect() {
            let (width, top) =
                (chance.between(0.08, 0.24), chance.between(0.12, 0.7) + if row == 0 { 0.0 } else { 0.12 });
            let wall = lit(chance.near([0.1, 0.11, 0.17], 0.04), if row == 0 { 1.5 } else { 0.7 });
            canvas.rectangle((x, top), (x + width, ground), wall);
            let (step, lamp) = (chance.between(0.022, 0.04), chance.near([1.0, 0.85, 0.5], 0.1));
            let (mut y, share) = (top + step, chance.between(0.15, 0.65));
            while y < ground - step {
                let mut at = x + step * 0.6;
                while at + step * 0.5 < x + width {
                    if chance.often(share) {
                        canvas.rectangle((at, y), (at + step * 0.5, y + step * 0.55), lamp);
                    }
                    at += step;
                }
                y += step;
            }
            x += width + chance.between(-0.01, 0.06);
        }
    }
    canvas.gradient(ground, 1.0, lit(dusk, 0.5), lit(dusk, 1.2));
    canvas.grain(0.02, chance);
}

pub fn desert(canvas: &mut Canvas, chance: &Chance) {
    let sky = chance.near([0.55, 0.75, 0.92], 0.1);
    canvas.gradient(0.0, 1.0, sky, [0.99, 0.9, 0.72]);
    if chance.often(0.7) {
        canvas.disc(
            (chance.between(0.05, 0.95) * canvas.aspect(), chance.between(0.05, 0.35)),
            chance.between(0.05, 0.1),
            [1.0, 0.97, 0.82],
        );
    }
    let sand = chance.near([0.9, 0.68, 0.38], 0.07);
    let mut base = chance.between(0.35, 0.6);
    let noise = Noise::new(chance, 2);
    while base < 1.1 {
        let (shift, swell, colour) =
            (chance.between(0.0, 50.0), chance.between(0.1, 0.35), lit(sand, chance.between(0.7, 1.15)));
        let corner = (canvas.aspect(), 1.0);
        canvas.paint((0.0, 0.0), corner, |x, y| {
            let crest = base - swell * noise.at(x * 1.4 + shift, 0.0);
            let slope = noise.at((x + 0.02) * 1.4 + shift, 0.0) - noise.at(x * 1.4 + shift, 0.0);
            (lit(colour, 1.0 + slope * 9.0), (y - crest) * 120.0)
        });
        base += chance.between(0.12, 0.3);
    }
    for _ in 0..chance.count(0, 3) {
        let (x, y, s) =
            (chance.between(0.1, canvas.aspect() - 0.1), chance.between(0.6, 0.95), chance.between(0.15, 0.35));
        let green = chance.near([0.15, 0.4, 0.2], 0.05);
        canvas.line((x, y), (x, y - s), s * 0.2, green);
        for side in [-1.0, 1.0] {
            let (arm, lift) = (x + side * s * 0.28, y - s * chance.between(0.35, 0.6));
            canvas.line((x, lift), (arm, lift), s * 0.13, green);
            canvas.line((arm, lift), (arm, lift - s * 0.3), s * 0.13, green);
        }
    }
    canvas.grain(0.025, chance);
}

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
            for tier in [0.0, 1.0, 2.0, 3.0] {
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
        for petal in 0..6u8 {
            let (sin, cos) = (f32::from(petal) * std::f32::consts::TAU / 6.0).sin_cos();
            canvas.disc((x + cos * r * 0.8, y + sin * r * 0.8), r * 0.55, petals);
        }
        canvas.disc((x, y), r * 0.45, [0.55, 0.35, 0.1]);
    }
    canvas.grain(0.025, chance);
}
