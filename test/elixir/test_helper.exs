# Only what tests have to say.
:ok = :logger.set_primary_config(:level, :critical)
{:ok, _} = Application.ensure_all_started(:sockeye)
ExUnit.start()
