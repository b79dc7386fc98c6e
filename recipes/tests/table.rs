//! The table "Can I use …?" in README.md: each row is backed by a recipe or a test, and each recipe has a row.

use std::fs;
use std::path::{Path, PathBuf};

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn each_row_is_backed_and_each_recipe_has_a_row() {
    let recipes = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(recipes.join("README.md")).unwrap();
    let tests: String = ["../tests", "../proofs/tests"]
        .into_iter()
        .flat_map(|folder| files(&recipes.join(folder)))
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.ends_with("shown by |"));
    for row in rows {
        let proof = row.trim_end_matches([' ', '|']).rsplit("| ").next().unwrap();
        let exists = match proof.strip_prefix('`') {
            Some(test) => tests.contains(&format!("fn {}(", test.trim_end_matches('`'))),
            None => {
                let file = proof.split_once("](").expect("a link, or the name of a test").1;
                recipes.join(file.trim_end_matches(')')).is_file()
            }
        };
        assert!(exists, "nothing backs the row: {row}");
    }
    for file in files(&recipes.join("tests")) {
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(
            name == "table.rs" || page.contains(&format!("](tests/{name})")),
            "{name} has no row"
        );
    }
}
