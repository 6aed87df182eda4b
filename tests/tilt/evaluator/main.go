// Evaluates a Tiltfile without Tilt: the real Starlark with Tilt's dialect, and Tilt's functions replaced by ones that
// check their arguments and record the call. What was recorded is printed as JSON.
//
//	evaluator [--context NAME] [--command up|ci|down] TILTFILE [ARGUMENT...]
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

// The Starlark that Tilt speaks: no more, no less.
var dialect = &syntax.FileOptions{
	Set:             true,
	GlobalReassign:  true,
	Recursion:       true,
	TopLevelControl: true,
	While:           true,
}

type evaluation struct {
	mainFile    string
	arguments   []string
	kubeContext string
	command     string

	predeclared starlark.StringDict
	// Folder of the file that is being executed: what its paths are relative to, also in functions that it loaded.
	folder   string
	loaded   map[string]starlark.StringDict
	settings map[string]*setting

	calls   []call
	printed []string
}

type call struct {
	Function string         `json:"function"`
	Args     map[string]any `json:"args"`
	At       string         `json:"at"`
}

type outcome struct {
	Calls   []call   `json:"calls"`
	Printed []string `json:"printed"`
	Error   string   `json:"error,omitempty"`
}

func main() {
	e := &evaluation{loaded: map[string]starlark.StringDict{}, settings: map[string]*setting{}, calls: []call{}, printed: []string{}}
	flag.StringVar(&e.kubeContext, "context", "kind-kind", "name of the kube context")
	flag.StringVar(&e.command, "command", "up", "the command of tilt: up, ci or down")
	flag.Parse()
	if flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "Usage: evaluator [--context NAME] [--command up|ci|down] TILTFILE [ARGUMENT...]")
		os.Exit(2)
	}
	file, err := filepath.Abs(flag.Arg(0))
	if err != nil {
		panic(err)
	}
	e.mainFile, e.arguments = file, flag.Args()[1:]

	result := outcome{}
	if err := e.run(); err != nil {
		result.Error = describe(err)
	}
	result.Calls, result.Printed = e.calls, e.printed
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		panic(err)
	}
}

func (e *evaluation) run() error {
	e.predeclared = e.builtins()
	thread := &starlark.Thread{
		Load:  func(_ *starlark.Thread, module string) (starlark.StringDict, error) { return e.load(module) },
		Print: func(_ *starlark.Thread, text string) { e.printed = append(e.printed, text) },
	}
	_, err := e.execute(thread, e.mainFile)
	return err
}

// load executes a file once, however often it is asked for.
func (e *evaluation) load(module string) (starlark.StringDict, error) {
	file := e.resolve(module)
	if globals, done := e.loaded[file]; done {
		if globals == nil {
			return nil, fmt.Errorf("%s loads itself", module)
		}
		return globals, nil
	}
	e.loaded[file] = nil
	thread := &starlark.Thread{
		Load:  func(_ *starlark.Thread, module string) (starlark.StringDict, error) { return e.load(module) },
		Print: func(_ *starlark.Thread, text string) { e.printed = append(e.printed, text) },
	}
	globals, err := e.execute(thread, file)
	if err != nil {
		return nil, err
	}
	e.loaded[file] = globals
	return globals, nil
}

func (e *evaluation) execute(thread *starlark.Thread, file string) (starlark.StringDict, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	outer := e.folder
	e.folder = filepath.Dir(file)
	defer func() { e.folder = outer }()
	return starlark.ExecFileOptions(dialect, thread, file, text, e.predeclared)
}

func (e *evaluation) resolve(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(e.folder, path)
}

// describe tells where a call failed, not only that it did.
func describe(err error) string {
	var failed *starlark.EvalError
	if errors.As(err, &failed) {
		return failed.Backtrace()
	}
	return err.Error()
}
