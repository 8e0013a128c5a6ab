//! Pictures of land and of what people build on it.

use crate::example::canvas::{Canvas, Chance, Noise, lit, mix};

pub fn mountains(canvas: &mut Canvas, chance: &Chance) {
    let sky = chance.near([0.5, 0.7, 0.92], 0.12);
    canvas.gradient(0.0, 1.0, sky, mix(sky, [1.0, 0.95, 0.9], 0.7));
    let rock = chance.near([0.36, 0.4, 0.5], 0.08);
    for layer in 0..chance.count(2, 4) {
        let near = 1.0 - 0.22 * f64::from(layer) as f32;
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

pub fn brick_wall(canvas: &mut Canvas, chance: &Chance) {
    let brick = chance.near([0.62, 0.27, 0.2], 0.1);
    let (high, long) = (chance.between(0.05, 0.11), chance.between(0.13, 0.26));
    canvas.fill(|_, _| [0.72, 0.69, 0.65]);
    let mut y = -chance.between(0.0, high);
    let mut odd = false;
    while y < 1.0 {
        let mut x = if odd { -long } else { -long / 2.0 };
        while x < canvas.aspect() {
            canvas.rectangle(
                (x, y),
                (x + long - 0.012, y + high - 0.012),
                lit(chance.near(brick, 0.05), chance.between(0.75, 1.2)),
            );
            x += long;
        }
        (y, odd) = (y + high, !odd);
    }
    for _ in 0..chance.count(1, 3) {
        let (x, y) = (chance.between(0.0, canvas.aspect() - 0.2), chance.between(0.0, 0.6));
        let (width, height) = (chance.between(0.18, 0.5), chance.between(0.2, 0.55));
        let frame = chance.near(chance.pick(&[[0.9; 3], [0.15, 0.35, 0.25], [0.2, 0.15, 0.1], [0.85, 0.7, 0.2]]), 0.05);
        canvas.rectangle((x, y), (x + width, y + height), frame);
        let inside = chance.near([0.25, 0.35, 0.45], 0.2);
        canvas.rectangle((x + 0.03, y + 0.03), (x + width - 0.03, y + height - 0.03), inside);
        if chance.often(0.6) {
            canvas.line((x + width / 2.0, y), (x + width / 2.0, y + height), 0.02, frame);
            canvas.line((x, y + height / 2.0), (x + width, y + height / 2.0), 0.02, frame);
        }
    }
    canvas.glow((chance.between(0.0, canvas.aspect()), chance.between(0.0, 1.0)), 0.7, [0.0; 3], 0.65);
    canvas.grain(0.03, chance);
}

pub fn houses(canvas: &mut Canvas, chance: &Chance) {
    let sky = chance.near([0.7, 0.82, 0.92], 0.1);
    canvas.gradient(0.0, 1.0, sky, [0.95, 0.95, 0.9]);
    let ground = chance.between(0.72, 0.92);
    let mut x = chance.between(-0.2, 0.1);
    while x < canvas.aspect() {
        let (width, wall) = (chance.between(0.22, 0.5), chance.between(0.2, 0.45));
        let top = ground - wall;
        let paint = chance.near(
            chance.pick(&[[0.92, 0.85, 0.7], [0.85, 0.5, 0.4], [0.6, 0.75, 0.85], [0.9, 0.9, 0.88], [0.75, 0.8, 0.5]]),
            0.08,
        );
        let roof = chance.near(chance.pick(&[[0.5, 0.15, 0.1], [0.25, 0.25, 0.3], [0.4, 0.25, 0.15]]), 0.06);
        canvas.rectangle((x, top), (x + width, ground), paint);
        let ridge = x + width * chance.between(0.3, 0.7);
        canvas.polygon(&[(x - 0.03, top), (ridge, top - chance.between(0.1, 0.28)), (x + width + 0.03, top)], roof);
        let columns = chance.count(1, 3);
        for column in 0..columns {
            let at = x + width * (f64::from(column) as f32 + 0.5) / f64::from(columns) as f32;
            let size = chance.between(0.03, 0.05);
            let y = top + wall * chance.between(0.2, 0.35);
            canvas.rectangle((at - size, y), (at + size, y + size * 2.2), [0.2, 0.25, 0.35]);
            canvas.line((at, y), (at, y + size * 2.2), 0.008, [0.95; 3]);
        }
        let door = x + width * chance.between(0.2, 0.75);
        canvas.rectangle((door, ground - wall * 0.42), (door + 0.07, ground), lit(roof, 0.8));
        x += width + chance.between(0.0, 0.25);
    }
    canvas.gradient(ground, 1.0, chance.near([0.35, 0.55, 0.3], 0.08), [0.25, 0.4, 0.22]);
    for _ in 0..chance.count(0, 3) {
        let at = (chance.between(0.0, canvas.aspect()), ground - chance.between(0.1, 0.25));
        canvas.line((at.0, ground + 0.05), at, 0.03, [0.3, 0.2, 0.12]);
        canvas.disc(at, chance.between(0.08, 0.16), chance.near([0.18, 0.42, 0.18], 0.06));
    }
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
