//! Pictures of things in a place: balloons, planets, houses, a bowl of fruit.
//!
//! Place, size, number and colours all come from the draw, so that no two pictures are laid out
//! alike.

use super::strokes::{BRIGHT, DARK, TAU, WHITE, around, band, frame, fruit, spots};
use lvd_ops::draw::{Canvas, Chance, Noise, lit, mix};

/// Balloons in the sky, loose or in a bunch.
pub fn balloons(canvas: &mut Canvas, chance: &Chance) {
    let skies = [
        ([0.2, 0.5, 0.9], [0.75, 0.88, 0.98]),
        ([0.5, 0.3, 0.55], [0.99, 0.7, 0.45]),
        ([0.75, 0.8, 0.85], WHITE),
        ([0.3, 0.7, 0.85], [0.9, 0.95, 0.8]),
    ];
    let (above, below) = chance.pick(&skies);
    canvas.gradient(0.0, 1.0, above, below);
    for at in spots(canvas, chance, chance.count(0, 4), 0.0) {
        for (u, v) in around(0.0, TAU, |_| chance.between(0.05, 0.2)).step_by(6) {
            canvas.glow((at.0 + u * 1.6, at.1 + v * 0.6), 0.2, WHITE, 0.7);
        }
    }
    if chance.often(0.4) {
        let (at, hill) = (chance.between(0.0, canvas.aspect()), chance.near([0.25, 0.45, 0.2], 0.1));
        canvas.ellipse((at, 1.1), (chance.between(0.6, 1.5), chance.between(0.2, 0.45)), 0.0, hill);
    }
    let count = chance.count(2, 8);
    let (knot, bunch) = ((chance.between(0.2, canvas.aspect() - 0.2), chance.between(0.9, 1.2)), chance.often(0.4));
    let largest = if count > 4 { 0.17 } else { 0.26 };
    for at in spots(canvas, chance, count, 0.14) {
        let (radius, lean, colour) =
            (chance.between(0.09, largest), chance.between(-0.25, 0.25), chance.near(chance.pick(&BRIGHT), 0.08));
        let own = frame(at, lean, (radius, radius));
        canvas.line(own(0.0, 1.3), if bunch { knot } else { own(chance.between(-0.5, 0.5), 3.5) }, 0.008, [0.3; 3]);
        canvas.polygon(&[own(0.0, 1.1), own(0.16, 1.4), own(-0.16, 1.4)], lit(colour, 0.7));
        canvas.ellipse(at, (radius, radius * 1.2), lean, lit(colour, 0.75));
        canvas.ellipse(own(-0.08, -0.08), (radius * 0.88, radius * 1.07), lean, colour);
        canvas.glow(own(-0.35, -0.45), radius * 0.5, WHITE, 0.9);
    }
    canvas.grain(0.02, chance);
}

/// A ringed planet in space, with stars and moons.
pub fn planet(canvas: &mut Canvas, chance: &Chance) {
    let (haze, cloud) = (lit(chance.pick(&BRIGHT), 0.55), Noise::new(chance, 4));
    canvas.fill(|x, y| mix([0.01, 0.01, 0.04], haze, cloud.at(x * 2.5, y * 2.5).powi(2) * 2.2 - 0.45));
    for _ in 0..chance.count(40, 160) {
        canvas.disc(spots(canvas, chance, 1, 0.0)[0], chance.between(0.001, 0.006), WHITE);
    }
    for at in spots(canvas, chance, chance.count(0, 2), 0.1) {
        canvas.glow(at, chance.between(0.1, 0.25), chance.pick(&[WHITE, [1.0, 0.9, 0.6], [0.6, 0.8, 1.0]]), 1.0);
    }
    let (at, radius, tilt) = (spots(canvas, chance, 1, 0.25)[0], chance.between(0.15, 0.38), chance.between(-1.4, 1.4));
    let (body, ringed) = (
        chance.near(chance.pick(&BRIGHT), 0.1),
        chance.near(chance.pick(&[[0.9, 0.8, 0.6], [0.6, 0.7, 0.85], [0.85, 0.55, 0.6]]), 0.1),
    );
    let (bands, sun, flat) = (chance.between(4.0, 14.0), chance.between(0.0, TAU), chance.between(0.12, 0.45));
    let (swirl, far, width) = (Noise::new(chance, 3), chance.between(1.8, 2.4), canvas.aspect());
    let (sin, cos) = f32::sin_cos(tilt);
    canvas.paint((0.0, 0.0), (width, 1.0), |x, y| {
        let (dx, dy) = ((x - at.0) / radius, (y - at.1) / radius);
        let (u, v) = (dx * cos + dy * sin, dy * cos - dx * sin);
        let (off, round) = (u.hypot(v), u.hypot(v / flat));
        let gap = ((round - 1.3).min(far - round) * 40.0).clamp(0.0, 1.0);
        if gap > 0.0 && (v > 0.0 || off > 1.0) {
            return (lit(ringed, 0.7 + 0.35 * (round * 22.0).sin()), gap * 0.95);
        }
        let belt = (v * bands + 2.0 * swirl.at(u * 2.0 + 9.0, v * 5.0 + 9.0)).sin() * 0.5 + 0.5;
        let day = 0.55 + 0.75 * (dx * sun.cos() + dy * sun.sin()) + 0.3 * (1.0 - off * off).max(0.0);
        (lit(mix(body, mix(body, WHITE, 0.6), belt), day.clamp(0.06, 1.2)), (1.0 - off) * 60.0)
    });
    for at in spots(canvas, chance, chance.count(1, 3), 0.06) {
        let (size, moon) = (chance.between(0.02, 0.1), chance.near([0.65, 0.62, 0.6], 0.2));
        canvas.disc(at, size, moon);
        canvas.disc((at.0 + size * 0.3, at.1 - size * 0.2), size * 0.25, lit(moon, 0.7));
        canvas.disc((at.0 - size * 0.3, at.1 + size * 0.3), size * 0.18, lit(moon, 0.75));
    }
    canvas.grain(0.02, chance);
}

/// A row of houses along a street.
pub fn houses(canvas: &mut Canvas, chance: &Chance) {
    let skies = [
        ([0.3, 0.6, 0.95], [0.8, 0.9, 1.0]),
        ([0.75, 0.78, 0.8], [0.9; 3]),
        ([0.35, 0.3, 0.55], [0.99, 0.65, 0.4]),
        ([0.02, 0.03, 0.12], [0.1, 0.12, 0.3]),
    ];
    let (above, below) = chance.pick(&skies);
    let (night, ground) = (above[2] < 0.2, chance.between(0.72, 0.93));
    canvas.gradient(0.0, ground, above, below);
    canvas.disc(
        (chance.between(0.1, canvas.aspect()), chance.between(0.08, 0.3)),
        chance.between(0.04, 0.1),
        [1.0, 0.95, 0.75],
    );
    let street = chance.near(chance.pick(&[[0.35; 3], [0.35, 0.55, 0.25], [0.6, 0.55, 0.48]]), 0.05);
    canvas.gradient(ground, 1.0, street, lit(street, 0.7));
    let (mut x, typical) = (chance.between(-0.2, 0.1), chance.between(0.2, 0.5));
    while x < canvas.aspect() {
        let (wide, top) = (typical * chance.between(0.7, 1.3), ground - chance.between(0.22, 0.55));
        let wall = lit(
            chance.near(mix(chance.pick(&BRIGHT), [0.9, 0.85, 0.75], chance.between(0.1, 0.9)), 0.05),
            if night { 0.4 } else { 1.0 },
        );
        let (right, roof) = (
            x + wide,
            lit(chance.pick(&[[0.6, 0.22, 0.15], [0.3, 0.3, 0.35], [0.4, 0.26, 0.18]]), if night { 0.5 } else { 1.0 }),
        );
        canvas.rectangle((x, top), (right, ground), wall);
        let (peak, inset) = (top - chance.between(0.08, 0.22), chance.pick(&[0.0, 0.25, 0.5]));
        canvas.rectangle((x + wide * 0.7, peak), (x + wide * 0.8, top), lit(roof, 0.7));
        canvas.polygon(
            &[(x - 0.01, top), (x + wide * inset, peak), (right - wide * inset, peak), (right + 0.01, top)],
            roof,
        );
        let glass = if night { [1.0, 0.85, 0.45] } else { chance.pick(&[[0.2, 0.27, 0.35], [0.65, 0.82, 0.92]]) };
        let (across, mut y) = (chance.pick(&[0.5, 0.333, 0.25]), top + 0.04);
        while y < ground - 0.1 {
            let mut u = x + wide * across / 2.0;
            while u < right - 0.01 {
                let half = wide * across * 0.27;
                canvas.rectangle((u - half - 0.008, y - 0.008), (u + half + 0.008, y + 0.088), lit(wall, 1.4));
                canvas.rectangle(
                    (u - half, y),
                    (u + half, y + 0.08),
                    if night && chance.often(0.5) { DARK } else { glass },
                );
                u += wide * across;
            }
            y += 0.14;
        }
        let door = x + wide * chance.between(0.25, 0.75);
        canvas.rectangle((door - 0.045, ground - 0.16), (door + 0.045, ground), lit(chance.pick(&BRIGHT), 0.7));
        x = right + chance.pick(&[0.0, 0.0, 0.06, 0.2]);
    }
    for (x, _) in spots(canvas, chance, chance.count(0, 3), 0.05) {
        let (size, leaf) =
            (chance.between(0.07, 0.17), lit(chance.near([0.2, 0.45, 0.15], 0.12), if night { 0.4 } else { 1.0 }));
        canvas.line((x, ground + 0.04), (x, ground - size * 1.5), 0.03, [0.25, 0.16, 0.1]);
        for (u, v) in around(0.0, TAU, |_| size * 0.5).step_by(8) {
            canvas.disc((x + u, ground - size * 2.0 + v), size * 0.7, lit(leaf, 1.0 - v));
        }
    }
    canvas.grain(0.02, chance);
}

/// A bowl of fruit on a table.
pub fn fruit_bowl(canvas: &mut Canvas, chance: &Chance) {
    let (edge, wide) = (chance.between(0.4, 0.75), canvas.aspect());
    let wall = chance.near(
        chance.pick(&[[0.85, 0.8, 0.7], [0.35, 0.5, 0.55], [0.2, 0.18, 0.2], [0.75, 0.5, 0.4], [0.6, 0.7, 0.5]]),
        0.08,
    );
    canvas.gradient(0.0, edge, wall, lit(wall, 0.8));
    if chance.often(0.5) {
        let (x, half) = (chance.between(0.2, wide - 0.2), chance.between(0.12, 0.3));
        canvas.rectangle((x - half, -0.1), (x + half, edge - 0.15), lit(wall, 0.55));
        canvas.rectangle(
            (x - half + 0.02, -0.1),
            (x + half - 0.02, edge - 0.17),
            chance.pick(&[[0.7, 0.87, 0.97], [0.98, 0.9, 0.65], [0.25, 0.35, 0.5]]),
        );
        canvas.line((x, 0.0), (x, edge - 0.17), 0.02, lit(wall, 0.55));
    }
    let (wood, veins) = (
        chance.near(
            chance.pick(&[[0.55, 0.34, 0.18], [0.82, 0.68, 0.48], [0.3, 0.18, 0.12], [0.9; 3], [0.25, 0.4, 0.6]]),
            0.05,
        ),
        Noise::new(chance, 3),
    );
    canvas.paint((0.0, edge), (wide, 1.0), |x, y| (lit(wood, 0.8 + 0.4 * veins.at(x * 2.0, y * 40.0)), 1.0));
    let (half, deep) = (chance.between(0.22, 0.5), chance.between(0.6, 1.0));
    let at = (chance.between(0.35, wide - 0.35), chance.between(0.45, 0.62).min(0.88 - half * deep * 0.75));
    let base = at.1 + half * deep * 0.75;
    let clay = chance
        .near(mix(chance.pick(&BRIGHT), chance.pick(&[WHITE, DARK, [0.6, 0.4, 0.25]]), chance.between(0.0, 0.8)), 0.05);
    for (x, _) in spots(canvas, chance, chance.count(0, 2), 0.12) {
        let (foot, tall, glass) = (edge + 0.06, chance.between(0.35, 0.7), chance.near(chance.pick(&BRIGHT), 0.1));
        let broad = tall * chance.between(0.12, 0.25);
        canvas.glow((x + 0.05, foot), broad * 2.0, DARK, 0.7);
        canvas.rectangle((x - broad * 0.35, foot - tall), (x + broad * 0.35, foot - broad), lit(glass, 0.8));
        canvas.rectangle((x - broad, foot - tall * 0.5), (x + broad, foot), lit(glass, 0.7));
        canvas.ellipse((x, foot - tall * 0.5), (broad, broad * 0.8), 0.0, lit(glass, 0.7));
        canvas.line(
            (x - broad * 0.6, foot - tall * 0.5),
            (x - broad * 0.6, foot - 0.04),
            broad * 0.2,
            mix(glass, WHITE, 0.5),
        );
    }
    for (u, v) in [(-0.4, 0.0), (0.0, 0.0), (0.4, 0.0), (0.8, 0.05)] {
        canvas.glow((at.0 + u * half, base + v), half * 0.7, DARK, 0.6);
    }
    canvas.ellipse(at, (half, half * 0.22), 0.0, lit(clay, 0.5));
    let (size, heap) = (half * chance.between(0.24, 0.36), chance.between(0.25, 0.7));
    for row in [1.0, 0.5, 0.0] {
        let mut u = -0.72 * (1.0 - row * 0.55) + chance.between(0.0, 0.15);
        while u < 0.75 * (1.0 - row * 0.55) {
            fruit(canvas, chance, (at.0 + u * half, at.1 - row * heap * half - size * 0.35), size);
            u += chance.between(0.32, 0.5);
        }
    }
    let own = frame(at, 0.0, (half, half * deep * 0.8));
    let bowl: Vec<_> = around(0.0, TAU / 2.0, |_| 1.0).map(|(u, v)| own(u, v)).collect();
    canvas.polygon(&bowl, clay);
    canvas.line(own(-1.0, 0.0), own(1.0, 0.0), half * 0.09, lit(clay, 1.25));
    canvas.rectangle((at.0 - half * 0.4, base), (at.0 + half * 0.4, base + half * 0.12), lit(clay, 0.7));
    canvas.glow(own(-0.45, 0.4), half * 0.4, WHITE, 0.5);
    for (x, y) in spots(canvas, chance, chance.count(0, 4), 0.1) {
        let spot = (x, (edge + y * 0.5).clamp(base + 0.02, 0.95));
        canvas.glow((spot.0 + 0.03, spot.1 + 0.05), size * 1.5, DARK, 0.7);
        fruit(canvas, chance, spot, size);
    }
    if chance.often(0.4) {
        let angle = chance.between(0.0, TAU);
        band(canvas, at, angle, chance.between(0.3, 2.0), chance.pick(&[(DARK, 0.4), ([1.0, 0.9, 0.6], 0.3)]));
    }
    canvas.grain(0.02, chance);
}
