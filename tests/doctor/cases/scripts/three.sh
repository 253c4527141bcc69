#!/bin/bash
make everything
