# Libraries of others, for programs of theirs in the guide: a folder with a folder of each.
for folder <- Path.wildcard(Path.join(System.get_env("SOCKEYE_THEIRS", "/nowhere"), "*/ebin")) do
  Code.append_path(folder)
end

# Only what tests have to say.
:ok = :logger.set_primary_config(:level, :critical)
{:ok, _} = Application.ensure_all_started(:sockeye)
ExUnit.start()
