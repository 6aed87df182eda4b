package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"
)

type function func(thread *starlark.Thread, args map[string]any) (starlark.Value, error)

func (e *evaluation) builtins() starlark.StringDict {
	all := map[string]starlark.Value{
		"struct":                 starlark.NewBuiltin("struct", starlarkstruct.Make),
		"TRIGGER_MODE_AUTO":      made("trigger_mode", map[string]any{"mode": "auto"}),
		"TRIGGER_MODE_MANUAL":    made("trigger_mode", map[string]any{"mode": "manual"}),
		"config.tilt_subcommand": starlark.String(e.command),
		"config.main_path":       starlark.String(e.mainFile),
	}
	for name, signature := range signatures {
		all[name] = e.checked(name, signature, func(_ *starlark.Thread, args map[string]any) (starlark.Value, error) {
			return made(name, args), nil
		})
	}
	all["fail"] = e.checked("fail", "msg:text", func(_ *starlark.Thread, args map[string]any) (starlark.Value, error) {
		return nil, errors.New(args["msg"].(string))
	})
	all["k8s_context"] = e.checked("k8s_context", "", func(*starlark.Thread, map[string]any) (starlark.Value, error) {
		return starlark.String(e.kubeContext), nil
	})
	all["os.getenv"] = e.checked("os.getenv", "key:text default?:any", func(_ *starlark.Thread, args map[string]any) (starlark.Value, error) {
		if value, found := os.LookupEnv(args["key"].(string)); found {
			return starlark.String(value), nil
		}
		return lift(args["default"]), nil
	})
	maps.Copy(all, e.configFunctions())
	maps.Copy(all, e.fileFunctions())
	return modules(all)
}

// checked makes a function that takes exactly what Tilt's takes, and leaves a record of each call.
func (e *evaluation) checked(name, signature string, run function) *starlark.Builtin {
	list := parameters(signature)
	return starlark.NewBuiltin(name, func(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		values, err := bind(name, list, args, kwargs)
		if err != nil {
			return nil, err
		}
		read := map[string]any{}
		for i, p := range list {
			if values[i] == nil {
				continue
			}
			if read[p.name], err = e.read(p, values[i]); err != nil {
				return nil, fmt.Errorf("%s: for parameter %w", name, err)
			}
		}
		e.calls = append(e.calls, call{Function: name, Args: read, At: thread.CallFrame(1).Pos.String()})
		return run(thread, read)
	})
}

// modules puts `config.parse` into a module `config`, and so on.
func modules(all map[string]starlark.Value) starlark.StringDict {
	globals, members := starlark.StringDict{}, map[string]starlark.StringDict{}
	for name, value := range all {
		module, member, dotted := strings.Cut(name, ".")
		if !dotted {
			globals[name] = value
			continue
		}
		if members[module] == nil {
			members[module] = starlark.StringDict{}
		}
		members[module][member] = value
	}
	for module, attributes := range members {
		globals[module] = &starlarkstruct.Module{Name: module, Members: attributes}
	}
	return globals
}

func sortedKeys[V any](object map[string]V) []string {
	return slices.Sorted(maps.Keys(object))
}
