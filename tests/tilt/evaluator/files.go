package main

import (
	"errors"
	"os"
	"strings"

	"go.starlark.net/starlark"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// fileFunctions are those that read what is there: with stubs in their place a Tiltfile would see no table and no manifests.
func (e *evaluation) fileFunctions() map[string]starlark.Value {
	functions := map[string]starlark.Value{}
	// YAML is a superset of JSON.
	for _, name := range []string{"read_yaml", "read_json"} {
		functions[name] = e.checked(name, "paths:path default?:any", func(_ *starlark.Thread, args map[string]any) (starlark.Value, error) {
			text, err := os.ReadFile(args["paths"].(string))
			if fallback, given := args["default"]; given && errors.Is(err, os.ErrNotExist) {
				return lift(fallback), nil
			}
			if err != nil {
				return nil, err
			}
			return decode(text)
		})
	}
	functions["decode_yaml_stream"] = e.checked("decode_yaml_stream", "yaml:text", func(_ *starlark.Thread, args map[string]any) (starlark.Value, error) {
		return decodeStream(args["yaml"].(string))
	})
	functions["kustomize"] = e.checked("kustomize", "paths:path kustomize_bin?:path flags?:list", func(_ *starlark.Thread, args map[string]any) (starlark.Value, error) {
		objects, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), args["paths"].(string))
		if err != nil {
			return nil, err
		}
		text, err := objects.AsYaml()
		if err != nil {
			return nil, err
		}
		return made("blob", map[string]any{"contents": string(text)}), nil
	})
	return functions
}

func decode(text []byte) (starlark.Value, error) {
	var document any
	if err := yaml.Unmarshal(text, &document); err != nil {
		return nil, err
	}
	return lift(document), nil
}

func decodeStream(text string) (starlark.Value, error) {
	var documents []starlark.Value
	for _, one := range strings.Split(text, "\n---\n") {
		document, err := decode([]byte(one))
		if err != nil {
			return nil, err
		}
		if document != starlark.None {
			documents = append(documents, document)
		}
	}
	return starlark.NewList(documents), nil
}
