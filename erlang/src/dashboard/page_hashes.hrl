%% SHA-256 of style and script, in Base64. sockeye_dashboard_access_tests says what they are when one has changed.
-define(STYLE_HASH, "EgXwfqQIM1ID6nI+HynalygWE6GflOUopegJXM7yMqE=").
-define(SCRIPT_HASH, "jJoaBOCIP3/EDfDrcd+nWJ8BWKO1FhSkPjh7acCGuVM=").
