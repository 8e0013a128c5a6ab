//! Still lifes and things on a wall.

use crate::example::canvas::{Canvas, Chance, Colour, lit};

const FRUIT: [Colour; 5] =
    [[0.85, 0.12, 0.12], [0.95, 0.55, 0.08], [0.9, 0.82, 0.2], [0.45, 0.65, 0.15], [0.4, 0.15, 0.45]];

/// A round fruit with a highlight.
fn fruit(canvas: &mut Canvas, chance: &Chance, at: (f32, f32), r: f32) {
    let skin = chance.near(chance.pick(&FRUIT), 0.06);
    canvas.disc(at, r, lit(skin, 0.75));
    canvas.disc((at.0 - 0.1 * r, at.1 - 0.1 * r), r * 0.88, skin);
    canvas.glow((at.0 - 0.35 * r, at.1 - 0.4 * r), r * 0.6, [1.0; 3], 0.7);
    canvas.line((at.0, at.1 - r * 0.9), (at.0 + 0.15 * r, at.1 - r * 1.25), r * 0.12, [0.3, 0.2, 0.1]);
}

pub fn fruit_bowl(canvas: &mut Canvas, chance: &Chance) {
    let table = chance.between(0.45, 0.75);
    canvas.gradient(0.0, table, chance.near([0.75, 0.7, 0.62], 0.18), chance.near([0.6, 0.55, 0.5], 0.15));
    canvas.gradient(table, 1.0, chance.near([0.5, 0.32, 0.18], 0.1), [0.3, 0.18, 0.1]);
    if chance.often(0.5) {
        let x = chance.between(0.0, canvas.aspect() - 0.3);
        canvas.rectangle((x, 0.05), (x + chance.between(0.2, 0.45), table - 0.12), chance.near([0.7, 0.85, 0.95], 0.1));
    }
    let (x, y) = (chance.between(0.3, 0.7) * canvas.aspect(), table + chance.between(0.0, 0.15));
    let wide = chance.between(0.2, 0.38);
    canvas.ellipse((x, y + wide * 0.72), (wide * 1.1, wide * 0.15), 0.0, [0.2, 0.12, 0.07]);
    for _ in 0..chance.count(4, 9) {
        let at = (x + chance.between(-0.7, 0.7) * wide, y - chance.between(0.0, 0.6) * wide);
        fruit(canvas, chance, at, wide * chance.between(0.22, 0.36));
    }
    let bowl = chance.near(chance.pick(&[[0.9; 3], [0.2, 0.35, 0.6], [0.55, 0.3, 0.2]]), 0.06);
    canvas.polygon(
        &[(x - wide, y), (x + wide, y), (x + wide * 0.45, y + wide * 0.75), (x - wide * 0.45, y + wide * 0.75)],
        bowl,
    );
    canvas.line((x - wide, y), (x + wide, y), 0.025, lit(bowl, 1.2));
    for _ in 0..chance.count(0, 3) {
        let at = (chance.between(0.05, canvas.aspect() - 0.05), chance.between(table + 0.12, 0.92));
        fruit(canvas, chance, at, wide * 0.25);
    }
    canvas.grain(0.02, chance);
}

pub fn checkered_cloth(canvas: &mut Canvas, chance: &Chance) {
    let dye = chance.near(chance.pick(&[[0.8, 0.1, 0.12], [0.15, 0.3, 0.7], [0.15, 0.5, 0.25]]), 0.06);
    let (pitch, (sin, cos)) = (chance.between(0.07, 0.15), chance.between(0.0, 1.5).sin_cos());
    canvas.fill(|x, y| {
        let stripe = |along: f32| f32::from(u8::from((along / pitch).rem_euclid(2.0) < 1.0));
        let woven = stripe(x * cos + y * sin + 7.0) + stripe(y * cos - x * sin + 7.0);
        [0, 1, 2].map(|channel| 0.97 - (0.97 - dye[channel]) * woven / 2.0)
    });
    for _ in 0..chance.count(2, 4) {
        let at = (chance.between(0.1, canvas.aspect() - 0.1), chance.between(0.1, 0.9));
        let r = chance.between(0.13, 0.26);
        canvas.glow((at.0 + 0.03, at.1 + 0.04), r * 1.3, [0.0; 3], 0.6);
        match chance.count(0, 2) {
            0 => {
                canvas.disc(at, r, [0.95; 3]);
                canvas.ring(at, r * 0.7, 0.012, [0.7; 3]);
                fruit(canvas, chance, (at.0 + 0.2 * r, at.1), r * 0.4);
            }
            1 => fruit(canvas, chance, at, r * 0.7),
            _ => {
                canvas.disc(at, r * 0.6, [0.9, 0.9, 0.92]);
                canvas.disc(at, r * 0.48, [0.25, 0.14, 0.07]);
                canvas.line((at.0 + r * 0.55, at.1), (at.0 + r * 0.85, at.1 + 0.02), 0.05, [0.9, 0.9, 0.92]);
            }
        }
    }
    canvas.grain(0.02, chance);
}

pub fn target(canvas: &mut Canvas, chance: &Chance) {
    let straw = chance.near([0.75, 0.65, 0.42], 0.12);
    canvas.gradient(0.0, 1.0, chance.near([0.45, 0.6, 0.4], 0.15), straw);
    for _ in 0..chance.count(1, 3) {
        let at = (chance.between(0.15, canvas.aspect() - 0.15), chance.between(0.2, 0.8));
        let r = chance.between(0.15, 0.42);
        for side in [-0.7, 0.7] {
            canvas.line(at, (at.0 + side * r, at.1 + 1.7 * r), 0.035, [0.35, 0.22, 0.1]);
        }
        let rings = [[0.95; 3], [0.1; 3], [0.25, 0.55, 0.85], [0.85, 0.15, 0.15], [0.98, 0.88, 0.2]];
        for (colour, share) in rings.into_iter().zip([1.0, 0.8, 0.6, 0.4, 0.2]) {
            canvas.disc(at, r * share, colour);
        }
        for _ in 0..chance.count(0, 4) {
            let hit = (at.0 + chance.between(-0.7, 0.7) * r, at.1 + chance.between(-0.7, 0.7) * r);
            let tail = (hit.0 + chance.between(-0.25, 0.25), hit.1 - chance.between(0.05, 0.3));
            canvas.line(hit, tail, 0.012, [0.3, 0.2, 0.1]);
            canvas.disc(tail, 0.02, chance.near([0.9, 0.9, 0.3], 0.3));
        }
    }
    canvas.grain(0.02, chance);
}
