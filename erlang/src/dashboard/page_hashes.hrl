%% SHA-256 of style and script, in Base64. sockeye_dashboard_tests says what they are when one has changed.
-define(STYLE_HASH, "j7B0yrM88Ls98F4BXL8k0DEQuKXy2TEPZPtjTlbyUiw=").
-define(SCRIPT_HASH, "IXuF9KJzps0LWvDCjOhczXaZUQsjaciN3KM/d8gtMkE=").
