"""Where a parcel goes, and what it costs."""
