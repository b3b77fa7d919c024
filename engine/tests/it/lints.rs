//! The bans of this crate are at least those of the workspace: clippy reads one configuration only.

#[test]
fn the_workspace_s_bans_hold_here() {
    let (workspace, here) =
        (include_str!("../../../clippy.toml"), include_str!("../../clippy.toml"));
    let bans = workspace.lines().filter(|line| line.trim_start().starts_with("{ path"));
    let missing: Vec<&str> = bans.filter(|ban| !here.lines().any(|line| line == *ban)).collect();
    assert!(missing.is_empty(), "copy to engine/clippy.toml: {missing:#?}");
}
