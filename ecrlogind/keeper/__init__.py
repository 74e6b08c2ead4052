"""Root's side: plans, schedules, tells what is so. No network, no home."""
