package main

import (
	"fmt"
	"strings"

	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"
)

type parameter struct {
	name     string
	kind     string
	optional bool
}

func parameters(signature string) []parameter {
	var list []parameter
	for _, word := range strings.Fields(signature) {
		name, kind, found := strings.Cut(word, ":")
		if !found {
			panic("no kind in the signature: " + word)
		}
		bare, optional := strings.CutSuffix(name, "?")
		list = append(list, parameter{bare, kind, optional})
	}
	return list
}

// bind gives each argument to its parameter, as Starlark itself does: an unknown name, a missing or a surplus argument is an
// error. What was left out is nil.
func bind(function string, list []parameter, args starlark.Tuple, kwargs []starlark.Tuple) ([]starlark.Value, error) {
	values := make([]starlark.Value, len(list))
	var pairs []any
	for i, p := range list {
		name := p.name
		if p.optional {
			name += "?"
		}
		pairs = append(pairs, name, &values[i])
	}
	if err := starlark.UnpackArgs(function, args, kwargs, pairs...); err != nil {
		return nil, err
	}
	return values, nil
}

// read checks a value against its parameter's kind and gives it as JSON has it, paths absolute.
func (e *evaluation) read(p parameter, v starlark.Value) (any, error) {
	wrong := func(wanted string) (any, error) {
		return nil, fmt.Errorf("%s: got %s, want %s", p.name, v.Type(), wanted)
	}
	switch p.kind {
	case "any":
		return plain(v), nil
	case "bool":
		if b, ok := v.(starlark.Bool); ok {
			return bool(b), nil
		}
		return wrong("a bool")
	case "int":
		if i, ok := v.(starlark.Int); ok {
			return plain(i), nil
		}
		return wrong("an int")
	case "text":
		if text, ok := asText(v); ok {
			return text, nil
		}
		return wrong("a string")
	case "path":
		if text, ok := asText(v); ok {
			return e.resolve(text), nil
		}
		return wrong("a path")
	case "texts", "command", "paths":
		texts, ok := asTexts(v)
		if text, single := asText(v); single {
			if p.kind == "command" {
				return text, nil
			}
			texts, ok = []string{text}, true
		}
		if !ok {
			return wrong("a string or a list of strings")
		}
		if p.kind == "paths" {
			for i, path := range texts {
				texts[i] = e.resolve(path)
			}
		}
		return texts, nil
	case "list":
		if _, ok := v.(starlark.Sequence); ok {
			return plain(v), nil
		}
		return wrong("a list")
	case "environment":
		return readEnvironment(v, wrong)
	case "steps":
		return readSteps(v, wrong)
	case "mode":
		if isMade(v, "trigger_mode") {
			return plain(v), nil
		}
		return wrong("TRIGGER_MODE_AUTO or TRIGGER_MODE_MANUAL")
	default:
		if isMade(v, p.kind) {
			return plain(v), nil
		}
		return wrong("what " + p.kind + "() makes")
	}
}

func readEnvironment(v starlark.Value, wrong func(string) (any, error)) (any, error) {
	dict, ok := v.(*starlark.Dict)
	if !ok {
		return wrong("a dict of strings")
	}
	for _, item := range dict.Items() {
		for _, part := range item {
			if _, ok := asText(part); !ok {
				return wrong("a dict of strings only")
			}
		}
	}
	return plain(v), nil
}

func readSteps(v starlark.Value, wrong func(string) (any, error)) (any, error) {
	list, ok := v.(*starlark.List)
	if !ok {
		return wrong("a list of live update steps")
	}
	for item := range list.Elements() {
		if !isMade(item, "sync") && !isMade(item, "fall_back_on") && !isMade(item, "run") {
			return wrong("live update steps only")
		}
	}
	return plain(v), nil
}

// made is what a function of Tilt gives: opaque to a Tiltfile, its arguments to the test.
func made(function string, fields map[string]any) starlark.Value {
	members := starlark.StringDict{}
	for name, value := range fields {
		members[name] = lift(value)
	}
	return starlarkstruct.FromStringDict(starlark.String(shortName(function)), members)
}

func isMade(v starlark.Value, function string) bool {
	s, ok := v.(*starlarkstruct.Struct)
	return ok && s.Constructor() == starlark.String(shortName(function))
}

func shortName(function string) string {
	return function[strings.LastIndex(function, ".")+1:]
}

func asText(v starlark.Value) (string, bool) {
	if text, ok := starlark.AsString(v); ok {
		return text, true
	}
	if s, ok := v.(*starlarkstruct.Struct); ok && isMade(v, "blob") {
		contents, _ := s.Attr("contents")
		return starlark.AsString(contents)
	}
	return "", false
}

func asTexts(v starlark.Value) ([]string, bool) {
	sequence, ok := v.(starlark.Sequence)
	if !ok {
		return nil, false
	}
	texts := make([]string, 0, sequence.Len())
	for item := range starlark.Elements(sequence) {
		text, ok := asText(item)
		if !ok {
			return nil, false
		}
		texts = append(texts, text)
	}
	return texts, true
}

// plain gives a Starlark value as JSON has it; what a function made says which one, under "made".
func plain(v starlark.Value) any {
	switch v := v.(type) {
	case starlark.NoneType, nil:
		return nil
	case starlark.Bool:
		return bool(v)
	case starlark.Int:
		n, _ := v.Int64()
		return n
	case starlark.Float:
		return float64(v)
	case starlark.String:
		return string(v)
	case *starlark.Dict:
		object := map[string]any{}
		for _, item := range v.Items() {
			key, _ := asText(item[0])
			object[key] = plain(item[1])
		}
		return object
	case *starlarkstruct.Struct:
		object := map[string]any{"made": plain(v.Constructor())}
		for _, name := range v.AttrNames() {
			field, _ := v.Attr(name)
			object[name] = plain(field)
		}
		return object
	case starlark.Iterable:
		list := []any{}
		for item := range starlark.Elements(v) {
			list = append(list, plain(item))
		}
		return list
	default:
		return v.String()
	}
}

// lift is the way back: JSON or YAML as Starlark values.
func lift(v any) starlark.Value {
	switch v := v.(type) {
	case nil:
		return starlark.None
	case bool:
		return starlark.Bool(v)
	case int64:
		return starlark.MakeInt64(v)
	case float64:
		if v == float64(int64(v)) {
			return starlark.MakeInt64(int64(v))
		}
		return starlark.Float(v)
	case string:
		return starlark.String(v)
	case []string:
		list := make([]starlark.Value, len(v))
		for i, item := range v {
			list[i] = starlark.String(item)
		}
		return starlark.NewList(list)
	case []any:
		list := make([]starlark.Value, len(v))
		for i, item := range v {
			list[i] = lift(item)
		}
		return starlark.NewList(list)
	case map[string]any:
		dict := starlark.NewDict(len(v))
		for _, key := range sortedKeys(v) {
			if err := dict.SetKey(starlark.String(key), lift(v[key])); err != nil {
				panic(err)
			}
		}
		return dict
	default:
		panic(fmt.Sprintf("cannot lift %T", v))
	}
}
