//! A small part of docs/tutorial.md: real photos, a real encoder.

use std::os::unix::fs::symlink;

use crate::common::{cell, run, shared_data, table};

#[test]
fn the_likes_of_leopards_are_leopards() {
    let Some(data) = shared_data() else { return };
    let data = data.canonicalize().expect("a path");
    let folder = tempfile::tempdir().expect("a folder");
    let (pool, seeds) = (folder.path().join("pool"), folder.path().join("seeds"));
    std::fs::create_dir_all(&pool).expect("a folder");
    std::fs::create_dir_all(&seeds).expect("a folder");
    for class in ["Leopards", "pizza", "stop_sign", "wrench"] {
        std::fs::create_dir(pool.join(class)).expect("a folder");
        let mut photos: Vec<_> = std::fs::read_dir(data.join("photos/caltech101").join(class))
            .expect("a class")
            .map(|photo| photo.expect("a photo").path())
            .collect();
        photos.sort();
        for (number, photo) in photos.iter().take(16).enumerate() {
            let name = photo.file_name().expect("a name");
            let to = if class == "Leopards" && number < 4 { seeds.join(name) } else { pool.join(class).join(name) };
            symlink(photo, to).expect("a link");
        }
    }
    let model = data.join("models/vit_tiny_patch16_224.onnx");
    let file = folder.path().join("photos.toml");
    let text = format!(
        "[sources.pool]\nfolder = \"pool\"\n[sources.cats]\nrole = \"seed\"\nfolder = \"seeds\"\n\
         [embedders.vit]\nmodel = {model:?}\nresize = 224\noutput = \"pooler_output\"\n\
         [steps.ingest]\n[steps.embed]\n[steps.retrieve.sets.cats]\nmethod = \"sample\"\nk = 3\n"
    );
    std::fs::write(&file, text).expect("the file is written");
    run(&["run", &file.to_string_lossy()]);
    let work = folder.path().join("work");
    let images = table(&work.join("ingest"));
    let retrieved = table(&work.join("retrieve"));
    assert_eq!(images.len(), 64);
    assert!(retrieved.len() >= 3, "{}", retrieved.len());
    for row in &retrieved {
        let image = images.iter().find(|image| cell(image, "id") == cell(row, "id")).expect("it was ingested");
        assert!(cell(image, "url").starts_with("Leopards/"), "{row:?}");
    }
}

#[test]
fn decoding_at_a_smaller_scale_hardly_moves_a_vector() {
    let Some(data) = shared_data() else { return };
    let data = data.canonicalize().expect("a path");
    let folder = tempfile::tempdir().expect("a folder");
    symlink(data.join("hostile/exif-orientation-examples"), folder.path().join("pool")).expect("a link");
    let model = data.join("models/vit_tiny_patch16_224.onnx");
    let file = folder.path().join("large.toml");
    let text = format!(
        "[sources.pool]\nfolder = \"pool\"\n[embedders.vit]\nmodel = {model:?}\nresize = 224\noutput = \"pooler_output\"\n\
         [steps.ingest]\n[steps.embed]\n"
    );
    std::fs::write(&file, text).expect("the file is written");
    let file = file.to_string_lossy();
    let vectors = |more: &[&str]| {
        run(&[&["run", &file], more].concat());
        let out = folder.path().join(format!("{}.npy", more.len()));
        run(&["vectors", &file, "embed/vit", &out.to_string_lossy()]);
        numbers(&std::fs::read(&out).expect("the vectors"))
    };
    let full = vectors(&[]);
    let scaled = vectors(&["--replace", "--set", "embed.scaled_decoding=2"]);
    assert!(full.len() >= 16 * 192 && full.len() == scaled.len());
    for (full, scaled) in full.chunks_exact(192).zip(scaled.chunks_exact(192)) {
        let cosine: f32 = full.iter().zip(scaled).map(|(a, b)| a * b).sum();
        assert!(full != scaled && cosine > 0.99, "{cosine}");
    }
}

/// The f32 values of a `.npy` file, whose header says its own length.
fn numbers(npy: &[u8]) -> Vec<f32> {
    let header = usize::from(u16::from_le_bytes([npy[8], npy[9]]));
    npy[10 + header..].chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().expect("4 bytes"))).collect()
}

#[test]
fn a_tar_of_a_web_dataset_is_ingested_as_it_lies() {
    let Some(data) = shared_data() else { return };
    let tar = data.canonicalize().expect("a path").join("photos/cifar10-test.tar");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tars.toml");
    let text = format!("[sources.cifar]\ntars = [{tar:?}]\n[steps.ingest]\nmin_side = 32\n");
    std::fs::write(&file, text).expect("the file is written");
    run(&["ingest", &file.to_string_lossy()]);
    let images = table(&folder.path().join("work/ingest"));
    assert_eq!(images.len(), 6000);
    let urls: Vec<&str> = images.iter().map(|image| cell(image, "url")).collect();
    assert!(urls[0].starts_with("0:cifar10-test.tar#512+") && urls[0].ends_with(":000000.jpg"), "{}", urls[0]);
    assert!(images.iter().all(|image| cell(image, "width") == "32"));
}
