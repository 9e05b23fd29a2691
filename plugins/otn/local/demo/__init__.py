"""The main job shown end to end: a stand-in for the platform, people who opt in, a campaign, its result."""
