onebasin reproduce --list
onebasin reproduce fig6-counterexample
onebasin reproduce narrow.toml
