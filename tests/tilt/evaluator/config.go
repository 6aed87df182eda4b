package main

import (
	"fmt"
	"strconv"
	"strings"

	"go.starlark.net/starlark"
)

// One of the options that a Tiltfile defines, as `tilt up -- ARGUMENTS` sets them.
type setting struct {
	kind       string
	positional bool
	values     []string
}

func (e *evaluation) configFunctions() map[string]starlark.Value {
	functions := map[string]starlark.Value{}
	for _, kind := range []string{"string", "string_list", "bool"} {
		name := "config.define_" + kind
		functions[name] = e.checked(name, "name:text args?:bool usage?:text", func(_ *starlark.Thread, args map[string]any) (starlark.Value, error) {
			positional, _ := args["args"].(bool)
			e.settings[args["name"].(string)] = &setting{kind: kind, positional: positional}
			return starlark.None, nil
		})
	}
	functions["config.parse"] = e.checked("config.parse", "", func(*starlark.Thread, map[string]any) (starlark.Value, error) {
		return e.parseArguments()
	})
	return functions
}

// parseArguments gives a dict of what was set, and only of that, as Tilt does. Tilt also reads a tilt_config.json beside the
// Tiltfile; a test does not want to know the developer's own.
func (e *evaluation) parseArguments() (starlark.Value, error) {
	rest := e.arguments
	for len(rest) > 0 {
		word := rest[0]
		rest = rest[1:]
		name, isOption := strings.CutPrefix(word, "--")
		if !isOption {
			if err := e.addPositional(word); err != nil {
				return nil, err
			}
			continue
		}
		name, value, hasValue := strings.Cut(name, "=")
		s := e.settings[name]
		switch {
		case s == nil || s.positional:
			return nil, fmt.Errorf("invalid Tiltfile config args: unknown flag: --%s", name)
		case s.kind == "bool" && !hasValue:
			value = "true"
		case !hasValue && len(rest) == 0:
			return nil, fmt.Errorf("invalid Tiltfile config args: flag needs an argument: --%s", name)
		case !hasValue:
			value, rest = rest[0], rest[1:]
		}
		s.values = append(s.values, value)
	}
	options := starlark.NewDict(len(e.settings))
	for _, name := range sortedKeys(e.settings) {
		if len(e.settings[name].values) == 0 {
			continue
		}
		value, err := e.settings[name].value()
		if err != nil {
			return nil, err
		}
		if err := options.SetKey(starlark.String(name), value); err != nil {
			return nil, err
		}
	}
	return options, nil
}

func (e *evaluation) addPositional(word string) error {
	for _, s := range e.settings {
		if s.positional {
			s.values = append(s.values, word)
			return nil
		}
	}
	return fmt.Errorf("positional CLI args (%q) were specified, but none were expected", word)
}

func (s *setting) value() (starlark.Value, error) {
	last := s.values[len(s.values)-1]
	switch s.kind {
	case "string_list":
		return lift(s.values), nil
	case "bool":
		on, err := strconv.ParseBool(last)
		return starlark.Bool(on), err
	default:
		return starlark.String(last), nil
	}
}
