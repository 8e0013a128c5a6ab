//! Pictures made of a repeated pattern: walls, cloth, rings, cells, scattered leaves.
//!
//! The pattern alone would make any two alike, so large things, shadows and light lie over it at
//! random places.

use super::strokes::{BRIGHT, DARK, TAU, WHITE, around, band, frame, fruit, spots};
use lvd_ops::draw::{Canvas, Chance, Colour, Noise, lit, mix};

/// A brick wall with a door, windows or posters, crossed by a shadow.
pub fn brick_wall(canvas: &mut Canvas, chance: &Chance) {
    let wall = [[0.62, 0.27, 0.20], [0.72, 0.42, 0.28], [0.45, 0.25, 0.20], [0.80, 0.72, 0.60], [0.50, 0.50, 0.52]];
    let (wall, high) = (chance.near(chance.pick(&wall), 0.06), chance.between(0.055, 0.12));
    let mortar = chance.pick(&[[0.85, 0.82, 0.78], [0.30, 0.28, 0.27], [0.62, 0.60, 0.57]]);
    let (bricks, stains) = (Noise::new(chance, 1), Noise::new(chance, 3));
    canvas.fill(|x, y| {
        let row = (y / high).floor();
        let along = x / (high * 2.4) + (row * 0.5).fract() + 3.0;
        let joint = (y / high).fract() < 0.12 || along.fract() < 0.05;
        let tone = 0.65 + 0.45 * bricks.at(along.floor(), row) + 0.3 * (stains.at(x * 3.0, y * 3.0) - 0.5);
        if joint { lit(mortar, 0.9) } else { lit(wall, tone) }
    });
    for (x, y) in spots(canvas, chance, chance.count(1, 3), 0.2) {
        let (paint, half) = (chance.near(chance.pick(&BRIGHT), 0.1), chance.between(0.11, 0.2));
        match chance.count(0, 2) {
            0 => {
                let top = chance.between(0.2, 0.5);
                canvas.rectangle((x - half - 0.03, top - 0.03), (x + half + 0.03, 1.0), lit(mortar, 0.8));
                canvas.rectangle((x - half, top), (x + half, 1.0), paint);
                canvas.rectangle((x - half * 0.7, top + 0.06), (x + half * 0.7, top + 0.24), lit(paint, 0.6));
                canvas.rectangle((x - half * 0.7, top + 0.32), (x + half * 0.7, 0.94), lit(paint, 0.8));
                canvas.disc((x + half * 0.84, top + 0.3), 0.018, [0.9, 0.75, 0.3]);
            }
            1 => {
                let tall = half * chance.between(1.0, 1.6);
                canvas.rectangle((x - half - 0.03, y - tall - 0.03), (x + half + 0.03, y + tall + 0.03), paint);
                canvas.rectangle(
                    (x - half, y - tall),
                    (x + half, y + tall),
                    chance.pick(&[DARK, [0.55, 0.75, 0.9], [0.98, 0.85, 0.5]]),
                );
                canvas.line((x, y - tall), (x, y + tall), 0.02, paint);
                canvas.line((x - half, y), (x + half, y), 0.02, paint);
                canvas.rectangle((x - half - 0.06, y + tall + 0.03), (x + half + 0.06, y + tall + 0.07), WHITE);
            }
            _ => {
                canvas.rectangle((x - half, y - half * 1.4), (x + half, y + half * 1.4), paint);
                let ink = chance.pick(&[DARK, WHITE, [0.9, 0.2, 0.3]]);
                canvas.disc((x + chance.between(-0.04, 0.04), y - half * 0.4), half * chance.between(0.4, 0.75), ink);
                canvas.rectangle((x - half * 0.8, y + half * 0.7), (x + half * 0.8, y + half * 0.9), ink);
                canvas.rectangle((x - half * 0.8, y + half * 1.05), (x + half * 0.3, y + half * 1.2), ink);
            }
        }
    }
    let (at, angle) = (spots(canvas, chance, 1, 0.2)[0], chance.between(0.0, TAU));
    band(canvas, at, angle, chance.between(0.3, 2.0), (DARK, 0.5));
    canvas.grain(0.02, chance);
}

/// A checkered table cloth seen from above, with plates, cups and fruit.
pub fn checkered_cloth(canvas: &mut Canvas, chance: &Chance) {
    let dye = chance.near(
        chance.pick(&[[0.8, 0.1, 0.12], [0.15, 0.3, 0.7], [0.1, 0.5, 0.3], [0.9, 0.65, 0.1], [0.2, 0.2, 0.22]]),
        0.06,
    );
    let (size, (sin, cos)) = (chance.between(0.05, 0.13), chance.between(0.0, TAU / 4.0).sin_cos());
    canvas.fill(|x, y| {
        let stripe = |t: f32| f32::from(u8::from((t / size).rem_euclid(2.0) < 1.0)) * 0.5;
        mix(WHITE, dye, stripe(x * cos + y * sin) + stripe(y * cos - x * sin))
    });
    if chance.often(0.5) {
        let angle = chance.between(0.0, TAU);
        let at = frame((canvas.aspect() / 2.0, 0.5), angle, (1.0, 1.0))(chance.between(0.2, 0.45), 0.0);
        band(canvas, at, angle, 3.0, (chance.pick(&[[0.45, 0.28, 0.15], [0.3, 0.5, 0.2], [0.7, 0.55, 0.4]]), 1.0));
    }
    for at in spots(canvas, chance, chance.count(2, 5), 0.14) {
        let (radius, china) = (chance.between(0.15, 0.27), chance.near(chance.pick(&BRIGHT), 0.1));
        canvas.glow((at.0 + 0.04, at.1 + 0.05), radius * 1.5, DARK, 0.9);
        match chance.count(0, 2) {
            0 => {
                canvas.disc(at, radius, china);
                canvas.disc(at, radius * 0.93, mix(china, WHITE, 0.85));
                canvas.disc(at, radius * 0.66, mix(china, WHITE, 0.6));
                for (u, v) in
                    around(chance.between(0.0, 1.0), 6.0, |_| radius * 0.3).step_by(chance.pick(&[16, 20, 30]))
                {
                    fruit(canvas, chance, (at.0 + u, at.1 + v), radius * 0.27);
                }
            }
            1 => {
                let grip = frame(at, chance.between(0.0, TAU), (radius, radius))(0.85, 0.0);
                canvas.line(at, grip, radius * 0.25, china);
                canvas.disc(at, radius * 0.66, china);
                canvas.disc(at, radius * 0.56, chance.pick(&[[0.25, 0.14, 0.08], [0.7, 0.4, 0.12], [0.85, 0.75, 0.6]]));
                canvas.glow((at.0 - radius * 0.2, at.1 - radius * 0.2), radius * 0.3, WHITE, 0.6);
            }
            _ => fruit(canvas, chance, at, radius * 0.7),
        }
    }
    canvas.grain(0.02, chance);
}

/// Archery targets with arrows.
pub fn target_rings(canvas: &mut Canvas, chance: &Chance) {
    const FITA: [Colour; 5] = [WHITE, [0.1, 0.1, 0.12], [0.15, 0.5, 0.85], [0.88, 0.15, 0.15], [0.98, 0.85, 0.15]];
    const CLUB: [Colour; 5] = [[0.85, 0.1, 0.1], WHITE, [0.85, 0.1, 0.1], WHITE, [0.85, 0.1, 0.1]];
    let (horizon, outside) = (chance.between(0.25, 0.75), chance.often(0.65));
    let sky = chance.pick(&[[0.45, 0.68, 0.92], [0.85, 0.87, 0.9], [0.97, 0.75, 0.5]]);
    let (wall, grass) = (chance.near([0.65, 0.5, 0.32], 0.2), chance.near([0.35, 0.55, 0.2], 0.12));
    if outside {
        canvas.gradient(0.0, horizon, sky, mix(sky, WHITE, 0.5));
        canvas.gradient(horizon, 1.0, lit(grass, 0.8), lit(grass, 1.2));
    } else {
        let straw = Noise::new(chance, 3);
        canvas.fill(|x, y| lit(wall, 0.65 + 0.6 * straw.at(x * 4.0, y * 60.0)));
    }
    let count = chance.pick(&[1, 1, 2, 2, 3, 4]);
    for at in spots(canvas, chance, count, 0.25) {
        let (radius, rings) =
            (chance.between(0.8, 1.1) * [0.38, 0.28, 0.23, 0.18][count as usize - 1], chance.pick(&[FITA, FITA, CLUB]));
        if outside {
            for side in [-1.0, 0.15, 1.0] {
                canvas.line(
                    (at.0, at.1 - radius),
                    (at.0 + side * radius * 0.9, at.1 + radius * 1.6),
                    0.03,
                    [0.4, 0.26, 0.14],
                );
            }
        }
        canvas.glow((at.0 + 0.05, at.1 + 0.06), radius * 1.5, DARK, 0.7);
        for (ring, share) in rings.into_iter().zip([1.0, 0.8, 0.6, 0.4, 0.2]) {
            canvas.disc(at, radius * share, lit(ring, 0.75));
            canvas.disc(at, radius * (share - 0.012), ring);
        }
        let (slant, feather) = (chance.between(0.0, TAU), chance.pick(&BRIGHT));
        for _ in 0..chance.count(0, 4) {
            let tip = frame(at, chance.between(0.0, TAU), (radius, radius))(chance.between(0.0, 0.8), 0.0);
            let arrow = frame(tip, slant, (radius * 0.8, radius * 0.8));
            canvas.line(tip, arrow(1.0, 0.0), 0.012, [0.25, 0.18, 0.1]);
            canvas.polygon(
                &[
                    arrow(0.75, 0.0),
                    arrow(0.85, 0.14),
                    arrow(1.1, 0.14),
                    arrow(1.0, 0.0),
                    arrow(1.1, -0.14),
                    arrow(0.85, -0.14),
                ],
                feather,
            );
        }
    }
    canvas.grain(0.02, chance);
}

/// Honeycomb: cells of honey, wax and nothing, with bees.
pub fn honeycomb(canvas: &mut Canvas, chance: &Chance) {
    let (size, (sin, cos)) = (chance.between(0.07, 0.15), chance.between(0.0, TAU).sin_cos());
    let (patch, each, tint) = (Noise::new(chance, 1), Noise::new(chance, 1), chance.between(-0.08, 0.08));
    let wall = chance.pick(&[[0.95, 0.8, 0.4], [0.55, 0.32, 0.1], [0.98, 0.92, 0.7]]);
    canvas.fill(|x, y| {
        let (u, v) = ((x * cos + y * sin) / size, (y * cos - x * sin) / size);
        let near = |shift: f32| {
            let cell = (((u - shift).round() + shift), ((v / 1.732 - shift).round() + shift) * 1.732);
            let (du, dv) = ((u - cell.0).abs(), (v - cell.1).abs());
            (cell, du.max(du * 0.5 + dv * 0.866))
        };
        let (a, b) = (near(0.0), near(0.5));
        let (cell, edge) = if a.1 < b.1 { a } else { b };
        let kind = patch.at(cell.0 * size * 2.5 + 50.0, cell.1 * size * 2.5 + 50.0);
        let tone = 0.85 + 0.3 * each.at((cell.0 * 2.0).round(), (cell.1 / 0.866).round());
        let content = if kind < 0.38 {
            [0.22, 0.11, 0.03]
        } else if kind < 0.68 {
            [0.92, 0.58 + tint, 0.08]
        } else {
            [0.93, 0.80 + tint, 0.50]
        };
        mix(lit(content, tone * (1.15 - edge * 0.7)), wall, (edge - 0.42) * 40.0)
    });
    for at in spots(canvas, chance, chance.count(1, 4), 0.16) {
        let (scale, angle) = (chance.between(0.1, 0.2), chance.between(0.0, TAU));
        let bee = frame(at, angle, (scale, scale));
        canvas.glow((at.0 + 0.03, at.1 + 0.03), scale * 1.5, DARK, 0.9);
        for (u, side) in [(0.5, 1.0), (0.1, 1.0), (-0.3, 1.0), (0.5, -1.0), (0.1, -1.0), (-0.3, -1.0)] {
            canvas.line(bee(u, 0.0), bee(u + 0.1, 0.75 * side), scale * 0.07, DARK);
        }
        canvas.ellipse(bee(-0.35, 0.0), (scale * 0.75, scale * 0.42), angle, DARK);
        for (u, half) in [(-0.8, 0.26), (-0.45, 0.36), (-0.1, 0.34)] {
            canvas.line(bee(u, -half * 0.8), bee(u, half * 0.8), scale * 0.17, [0.98, 0.75, 0.1]);
        }
        canvas.disc(bee(0.4, 0.0), scale * 0.38, [0.55, 0.36, 0.1]);
        canvas.disc(bee(0.85, 0.0), scale * 0.26, DARK);
        for side in [-1.0, 1.0] {
            canvas.line(bee(0.95, 0.1 * side), bee(1.3, 0.3 * side), scale * 0.06, DARK);
            canvas.ellipse(bee(-0.1, 0.6 * side), (scale * 0.7, scale * 0.25), angle - 0.6 * side, [0.88, 0.93, 0.97]);
        }
    }
    let (at, angle) = (spots(canvas, chance, 1, 0.1)[0], chance.between(0.0, TAU));
    band(canvas, at, angle, 3.0, chance.pick(&[(DARK, 0.5), (WHITE, 0.3), ([0.6, 0.2, 0.0], 0.4)]));
    canvas.grain(0.02, chance);
}

/// Autumn leaves on the ground.
pub fn leaves(canvas: &mut Canvas, chance: &Chance) {
    const AUTUMN: [Colour; 6] = [
        [0.85, 0.25, 0.08],
        [0.95, 0.6, 0.1],
        [0.98, 0.8, 0.2],
        [0.65, 0.12, 0.1],
        [0.55, 0.35, 0.12],
        [0.65, 0.65, 0.15],
    ];
    let ground = chance.pick(&[[0.22, 0.16, 0.11], [0.3, 0.45, 0.16], [0.48, 0.48, 0.5], [0.68, 0.58, 0.44]]);
    let soil = Noise::new(chance, 4);
    canvas.fill(|x, y| lit(ground, 0.55 + 0.9 * soil.at(x * 9.0, y * 9.0)));
    let palette = [chance.pick(&AUTUMN), chance.pick(&AUTUMN), chance.pick(&AUTUMN)];
    let mut places: Vec<_> =
        (0..chance.count(15, 90)).map(|_| (spots(canvas, chance, 1, 0.0)[0], 0.055, 0.75)).collect();
    places.extend(
        spots(canvas, chance, chance.count(3, 7), 0.1).into_iter().map(|at| (at, chance.between(0.13, 0.3), 1.0)),
    );
    for (at, size, light) in places {
        let colour = lit(chance.near(chance.pick(&palette), 0.08), light);
        let (angle, maple, slim) = (chance.between(0.0, TAU), chance.often(0.5), chance.between(0.35, 0.6));
        let leaf = frame(at, angle, (size, size));
        canvas.glow((at.0 + size * 0.15, at.1 + size * 0.2), size * 1.4, DARK, 0.8);
        canvas.line(leaf(-1.4, 0.1), leaf(0.0, 0.0), size * 0.06, lit(colour, 0.5));
        let outline: Vec<_> = around(0.0, TAU, |t| {
            let lobes = 0.45 + 0.55 * (t * 2.5).cos().abs().powi(2) + 0.08 * (t * 15.0).cos();
            if maple {
                lobes * (0.8 + 0.2 * t.cos())
            } else {
                slim / (slim * t.cos()).hypot(t.sin()) * (0.8 + 0.2 * t.cos().abs())
            }
        })
        .map(|(u, v)| leaf(u, v))
        .collect();
        canvas.polygon(&outline, colour);
        for turn in if maple { [-2.5_f32, -1.25, 0.0, 1.25, 2.5] } else { [0.0, 0.5, -0.5, 0.25, -0.25] } {
            let reach = if maple || turn == 0.0 { 0.7 } else { 0.35 };
            let from = if maple { (0.0, 0.0) } else { (0.3 - turn.abs(), 0.0) };
            canvas.line(
                leaf(from.0, from.1),
                leaf(from.0 + reach * turn.cos(), reach * turn.sin()),
                size * 0.04,
                lit(colour, 0.65),
            );
        }
    }
    let (at, angle) = (spots(canvas, chance, 1, 0.1)[0], chance.between(0.0, TAU));
    band(canvas, at, angle, chance.between(0.2, 1.5), chance.pick(&[(DARK, 0.5), ([1.0, 0.9, 0.6], 0.3)]));
    canvas.grain(0.02, chance);
}
