"""The page at `/`: one picture or clip, its answer and the releases. Plain files without a build step."""
