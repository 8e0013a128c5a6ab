//! Pictures of animals: zebras on land, fish in water.

use super::strokes::{BRIGHT, DARK, WHITE, frame, spots};
use lvd_ops::draw::{Canvas, Chance, Noise, Point, lit, mix};

/// Zebras on the savanna, from a herd to a close-up.
pub fn zebra(canvas: &mut Canvas, chance: &Chance) {
    // Head, neck, trunk and legs: thick lines whose ends have a radius each.
    const PARTS: [(Point, Point, f32, f32); 8] = [
        ((-0.72, -0.52), (-0.95, -0.30), 0.13, 0.075),
        ((-0.35, -0.10), (-0.70, -0.52), 0.20, 0.11),
        ((-0.30, 0.00), (0.38, 0.00), 0.24, 0.25),
        ((-0.40, 0.10), (-0.44, 0.68), 0.10, 0.04),
        ((-0.28, 0.10), (-0.24, 0.68), 0.10, 0.04),
        ((0.38, 0.10), (0.34, 0.68), 0.13, 0.04),
        ((0.50, 0.05), (0.54, 0.68), 0.12, 0.04),
        ((0.60, -0.10), (0.74, 0.32), 0.05, 0.03),
    ];
    let (grass, horizon) = (
        chance.near(chance.pick(&[[0.78, 0.65, 0.35], [0.5, 0.6, 0.25], [0.7, 0.45, 0.28]]), 0.06),
        chance.between(0.15, 0.65),
    );
    let sky = chance.pick(&[[0.5, 0.75, 0.95], [0.98, 0.7, 0.4], [0.8, 0.85, 0.88]]);
    canvas.gradient(0.0, horizon, sky, mix(sky, WHITE, 0.5));
    canvas.gradient(horizon, 1.0, grass, lit(grass, 0.7));
    let (count, wide) = (chance.pick(&[1, 1, 1, 2, 3]), canvas.aspect());
    for at in spots(canvas, chance, count, 0.3) {
        let size = if count == 1 { chance.between(0.6, 1.5) } else { chance.between(0.3, 0.45) };
        let (flip, angle, lean) = (chance.pick(&[-1.0, 1.0]), chance.between(-0.15, 0.15), chance.between(-0.7, 0.7));
        let (pitch, warp) = (chance.between(34.0, 60.0), Noise::new(chance, 2));
        // The larger, the further the trunk moves out, to keep the head in view.
        let near = (size - 0.6).max(0.0);
        let at = (at.0 + flip * near * 0.6, at.1 + near * 0.35);
        canvas.glow((at.0, at.1 + size * 0.66), size * 0.8, DARK, 0.6);
        let (sin, cos) = f32::sin_cos(angle);
        canvas.paint((0.0, 0.0), (wide, 1.0), |x, y| {
            let (dx, dy) = ((x - at.0) / size, (y - at.1) / size);
            let (u, v) = ((dx * cos + dy * sin) * flip, dy * cos - dx * sin);
            let mut best = (0, -1.0);
            for (part, (from, to, thick, thin)) in PARTS.into_iter().enumerate() {
                let (du, dv) = (to.0 - from.0, to.1 - from.1);
                let t = (((u - from.0) * du + (v - from.1) * dv) / (du * du + dv * dv)).clamp(0.0, 1.0);
                let inside = thick + (thin - thick) * t - (u - from.0 - t * du).hypot(v - from.1 - t * dv);
                best = if inside > best.1 { (part, inside) } else { best };
            }
            let bend = 3.0 * warp.at(u * 4.0 + 9.0, v * 4.0 + 9.0);
            let wave = match best.0 {
                0 | 1 => (v * 0.8 + u * 0.75) * pitch + bend,
                2 => (u + v * lean * (u + 0.4)) * pitch + bend,
                _ => v * pitch * 1.2 + bend,
            };
            let muzzle = u < -0.92 || v > 0.64 || (u + 0.77).hypot(v + 0.53) < 0.03;
            let fur = if muzzle { DARK } else { mix(DARK, WHITE, wave.sin() * 4.0 + 0.6) };
            (lit(fur, 0.75 + 1.2 * best.1.min(0.2)), best.1 * size * 200.0)
        });
        let own = frame(at, angle, (size * flip, size));
        canvas.polygon(&[own(-0.70, -0.60), own(-0.78, -0.78), own(-0.62, -0.66)], DARK);
        canvas.polygon(&[own(-0.62, -0.64), own(-0.54, -0.62), own(-0.15, -0.26), own(-0.25, -0.22)], DARK);
    }
    canvas.grain(0.02, chance);
}

/// Tropical fish in water.
pub fn fish(canvas: &mut Canvas, chance: &Chance) {
    let waters = [
        ([0.1, 0.55, 0.8], [0.02, 0.2, 0.45]),
        ([0.3, 0.8, 0.8], [0.05, 0.45, 0.5]),
        ([0.05, 0.15, 0.35], [0.01, 0.04, 0.12]),
        ([0.55, 0.85, 0.9], [0.15, 0.5, 0.75]),
    ];
    let (above, below) = chance.pick(&waters);
    canvas.gradient(0.0, 1.0, above, below);
    if chance.often(0.6) {
        let (floor, waves) = (chance.between(0.7, 0.9), Noise::new(chance, 2));
        let (corner, sand) = ((canvas.aspect(), 1.0), chance.near([0.85, 0.75, 0.55], 0.12));
        canvas.paint((0.0, 0.0), corner, |x, y| {
            (lit(sand, 1.4 - y * 0.5), (y - floor - 0.15 * (waves.at(x * 3.0, 0.0) - 0.5)) * 90.0)
        });
    }
    for (x, _) in spots(canvas, chance, chance.count(0, 5), 0.05) {
        let (tall, plant) = (
            chance.between(0.15, 0.6),
            chance.near(chance.pick(&[[0.1, 0.45, 0.2], [0.85, 0.3, 0.4], [0.6, 0.3, 0.6]]), 0.1),
        );
        for turn in [-0.5, -0.25, 0.0, 0.25, 0.5] {
            canvas.line(
                (x, 1.02),
                (x + tall * turn, 1.0 - tall * (1.0 - turn.abs())),
                0.04,
                lit(plant, 1.0 + turn * 0.5),
            );
        }
    }
    let count = chance.count(1, 6);
    for at in spots(canvas, chance, count, 0.15) {
        let (size, flip, angle) = (
            chance.between(0.11, if count < 3 { 0.38 } else { 0.2 }),
            chance.pick(&[-1.0, 1.0]),
            chance.between(-0.4, 0.4),
        );
        let (own, tall) = (frame(at, angle, (size * flip, size)), chance.between(0.4, 0.8));
        let (skin, fin) = (chance.near(chance.pick(&BRIGHT), 0.08), chance.near(chance.pick(&BRIGHT), 0.08));
        canvas.polygon(&[own(0.8, 0.0), own(1.5, -0.6), own(1.3, 0.0), own(1.5, 0.6)], fin);
        canvas.polygon(
            &[own(-0.4, -tall * 0.8), own(0.3, -tall * 1.45), own(0.7, -tall * 1.2), own(0.6, -tall * 0.5)],
            fin,
        );
        canvas.polygon(&[own(-0.1, tall * 0.8), own(0.5, tall * 1.4), own(0.6, tall * 0.5)], fin);
        canvas.ellipse(at, (size, size * tall), angle, skin);
        let stripe = chance.pick(&[WHITE, DARK, fin]);
        for (u, shown) in [(-0.4, 0.9), (0.1, 0.7), (0.55, 0.5)] {
            if chance.often(shown) {
                let half = tall * f32::sqrt(1.0 - u * u) * 0.88;
                canvas.line(own(u, -half), own(u, half), size * 0.15, stripe);
            }
        }
        canvas.polygon(&[own(-0.1, 0.1), own(0.35, -0.05), own(0.3, 0.35)], lit(fin, 0.8));
        canvas.disc(own(-0.68, -0.1), size * 0.13, WHITE);
        canvas.disc(own(-0.71, -0.1), size * 0.07, DARK);
    }
    for at in spots(canvas, chance, chance.count(0, 14), 0.03) {
        canvas.ring(at, chance.between(0.01, 0.035), 0.007, [0.85, 0.95, 1.0]);
    }
    canvas.grain(0.02, chance);
}
