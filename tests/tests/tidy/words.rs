//! What no file of the project may say: a path that exists on one machine only.

use std::path::{Path, PathBuf};
use std::process::Command;

use windrose_tests::places::checkout;

/// How paths of one machine begin. Without their first slash, so that this file may stand here.
/// `root/x` alone may be a path of HTTP; what a person or a program leaves in that home begins with a dot.
const MACHINE_FOLDERS: [&str; 4] = ["work/", "farm/", "root/.", "home/"];

/// The files of the project: tracked, and new ones that nothing ignores.
fn project_files() -> Vec<PathBuf> {
    let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").current_dir(checkout()).args(list).output().expect("git is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).expect("file names are UTF-8");
    let files: Vec<PathBuf> = names.split_terminator('\0').map(PathBuf::from).collect();
    assert!(files.contains(&PathBuf::from("Cargo.toml")), "git lists no files: {files:?}");
    files
}

/// Lines of `text` with an absolute path of a machine, as `file:line: text`.
fn machine_paths(file: &Path, text: &str) -> Vec<String> {
    let offending = |line: &str| MACHINE_FOLDERS.iter().any(|folder| names_folder(line, folder));
    let lines = text.lines().enumerate().filter(|(_, line)| offending(line));
    lines.map(|(index, line)| format!("{}:{}: {}", file.display(), index + 1, line.trim())).collect()
}

/// Whether the line holds `/folder` at the start of a path; `a/folder/` and `example.org/folder/` are none.
fn names_folder(line: &str, folder: &str) -> bool {
    let path = format!("/{folder}");
    line.match_indices(&path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|before| before.is_alphanumeric() || "._-~*{}$)/".contains(before))
    })
}

#[test]
fn no_file_names_a_path_of_one_machine() {
    let mut offences = Vec::new();
    for file in project_files() {
        // A file that is listed and gone was deleted and not yet committed; one that is no text names no path.
        let Ok(bytes) = std::fs::read(checkout().join(&file)) else { continue };
        let Ok(text) = String::from_utf8(bytes) else { continue };
        offences.extend(machine_paths(&file, &text));
    }
    assert_eq!(offences, Vec::<String>::new());
}

#[test]
fn a_path_of_a_machine_is_found_and_a_url_is_not() {
    let file = Path::new("a.rs");
    let path = ["let a = \"", "/ro", "ot/.x\";"].concat();
    assert_eq!(machine_paths(file, &format!("fine\n{path}\n")), [format!("a.rs:2: {path}")]);
    let url = ["https://example.org", "/ho", "me/x and a", "/wo", "rk/b"].concat();
    assert_eq!(machine_paths(file, &url), Vec::<String>::new());
}
